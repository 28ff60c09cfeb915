"""The `podwright` command: finds the sub-command, runs it, and turns what goes wrong into one line and a status.

Everything but the reading of arguments is imported when it is needed, for `podwright version` is to be felt at once.

Exit statuses: 0 done, 1 the runtime refused or failed, 2 wrong command line or file, 3 no such object or an ambiguous
name, 4 no runtime there, 130 interrupted. `exec`, `attach` and `run` end with the status of what ran, and with
125 where that did not come to it.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

ELSEWHERE: Final = {
    "serve": "podwright.daemon.main",
    "config": "podwright.daemon.main",
    "node": "podwright.node.main",
}
"""Commands that read their own arguments: modules with main(arguments, the command first) -> status."""

FAILED, MISUSED, NOT_FOUND, NO_RUNTIME, NOT_RUN, BROKEN_PIPE, INTERRUPTED = 1, 2, 3, 4, 125, 141, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its log lines are no part of our output
    try:
        if given and given[0] in ELSEWHERE:
            return _elsewhere(given)
        return _run(given)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the interpreter's end
        return BROKEN_PIPE


def _elsewhere(given: list[str]) -> int:
    module = ELSEWHERE[given[0]]
    try:
        run: Callable[[list[str]], int] = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        print(f'podwright: "{given[0]}" is not part of this installation', file=sys.stderr)
        return MISUSED
    return run(given)


def _run(given: list[str]) -> int:
    from podwright.cli.arguments import parser  # noqa: PLC0415
    from podwright.errors import PodwrightError  # noqa: PLC0415

    options = parser().parse_args(given)
    module, _, function = options.handler.partition(":")
    try:
        command = getattr(importlib.import_module(f"podwright.cli.{module}"), function)
        status: int = command(options)
    except PodwrightError as error:
        print(f"podwright: {error}", file=sys.stderr)
        return NOT_RUN if options.passes_status else _status(error)
    return status


def _status(error: Exception) -> int:
    from podwright.cli.inventory import Ambiguous  # noqa: PLC0415
    from podwright.client import NoCommonVersion, RestartNeeded  # noqa: PLC0415
    from podwright.errors import InvalidArgument, NotFound, Unavailable  # noqa: PLC0415

    match error:
        case InvalidArgument():
            return MISUSED
        case NotFound() | Ambiguous():
            return NOT_FOUND
        case Unavailable() | NoCommonVersion() | RestartNeeded():
            return NO_RUNTIME
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
