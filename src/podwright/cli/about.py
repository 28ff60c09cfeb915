"""`podwright version` and `podwright info`: who is there, and how it is."""

import argparse

from podwright import __version__
from podwright.cli.connection import connect
from podwright.cli.messages import plain, verbose_info
from podwright.cli.output import Cell, Column, structured, table


def version(options: argparse.Namespace) -> int:
    """Prints the versions of both sides."""
    with connect(options) as cri:
        answer = cri.version()
        endpoint = str(cri.endpoints["RuntimeService"])
    if options.output != "table":
        structured({"podwright": __version__, "endpoint": endpoint, "runtime": plain(answer)}, options.output)
        return 0
    print(f"podwright  {__version__}")
    print(f"runtime    {answer.runtime_name} {answer.runtime_version}")
    print(f"CRI        {answer.runtime_api_version}")
    print(f"endpoint   {endpoint}")
    return 0


def info(options: argparse.Namespace) -> int:
    """Prints conditions, handlers and features."""
    with connect(options) as cri:
        answer, who = cri.status(verbose=True), cri.version()
    if options.output != "table":
        structured({**plain(answer), "info": verbose_info(answer.info)}, options.output)
        return 0
    print(f"{who.runtime_name} {who.runtime_version}\n")
    rows: list[list[Cell | str]] = [
        [
            Cell(condition.type, "bold"),
            Cell("yes", "green") if condition.status else Cell("no", "red"),
            " ".join(filter(None, [condition.reason, condition.message])),
        ]
        for condition in answer.status.conditions
    ]
    _print(("CONDITION", "HOLDS", "WHY"), rows)
    if answer.runtime_handlers:
        print()
        handlers: list[list[Cell | str]] = []
        for handler in answer.runtime_handlers:
            features = handler.features
            can = [name for name, has in plain(features).items() if has]
            handlers.append([Cell(handler.name or "(default)", "bold"), ", ".join(can)])
        _print(("HANDLER", "FEATURES"), handlers)
    return 0


def _print(titles: tuple[str, ...], rows: list[list[Cell | str]]) -> None:
    columns: list[Column[object]] = [Column(title, str) for title in titles]
    table(titles, rows, columns)
