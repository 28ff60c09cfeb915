"""`podwright exec` and `podwright attach`."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable

from podwright.cli.connection import connect
from podwright.cli.inventory import Container, Inventory, Pod
from podwright.client import Client
from podwright.cri import v1
from podwright.errors import FailedPrecondition, Internal, InvalidArgument, Unimplemented

EXIT_SECONDS = 2.0
"""How long a runtime may take to notice that a container whose streams have ended has exited."""


def execute(options: argparse.Namespace) -> int:
    """Runs a command in a container; returns its exit status."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise InvalidArgument("exec takes a command: podwright exec NAME -- COMMAND…")
    if options.limit and (options.stdin or options.tty):
        raise InvalidArgument(
            "--timeout goes with neither -i nor -t: runtimes know it only for commands without streams"
        )
    with connect(options) as cri:
        container = _running(cri, options.name)
        if options.limit:
            return _without_streams(cri, container, command, options.limit)
        stdin, tty = options.stdin, options.tty

        def ask() -> str:
            return cri.exec(container.id, command, stdin=stdin, stdout=True, stderr=not tty, tty=tty).url

        try:
            status = _converse(ask, stdin=stdin, tty=tty)
        except Unimplemented:
            if stdin or tty:
                raise
            return _without_streams(cri, container, command, 0)
    assert status is not None
    return status


def attach(options: argparse.Namespace) -> int:
    """Connects to a container's own process; returns the container's exit status, or 0 after Ctrl-P Ctrl-Q."""
    with connect(options) as cri:
        container = _running(cri, options.name)
        stdin, tty = options.stdin, options.tty

        def ask() -> str:
            return cri.attach(container.id, stdin=stdin, stdout=True, stderr=not tty, tty=tty).url

        if _converse(ask, stdin=stdin, tty=tty, detachable=True) is None:
            return 0
        return _exit_status(cri, container.id)


def _exit_status(cri: Client, container_id: str) -> int:
    """The exit status of a container whose streams have ended, or 0 if it runs on all the same."""
    deadline = time.monotonic() + EXIT_SECONDS
    while True:
        status = cri.container_status(container_id).status
        if status.state == v1.CONTAINER_EXITED:
            return status.exit_code & 0xFF
        if time.monotonic() > deadline:
            return 0
        time.sleep(0.05)


def _converse(ask: Callable[[], str], *, stdin: bool, tty: bool, detachable: bool = False) -> int | None:
    """The exit status, or None if the user has detached. Raises Internal if the command could not be run."""
    from podwright.cli.session import converse  # noqa: PLC0415  brings asyncio and WebSocket along

    async def ask_aside() -> str:
        return await asyncio.to_thread(ask)

    outcome = asyncio.run(converse(ask_aside, stdin=stdin, tty=tty, detachable=detachable))
    if outcome is None:
        return None
    if outcome.exit_code is None:
        raise Internal(outcome.message)
    return outcome.exit_code


def _without_streams(cri: Client, container: Container, command: list[str], seconds: int) -> int:
    answer = cri.exec_sync(container.id, command, timeout=seconds)
    sys.stdout.buffer.write(answer.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(answer.stderr)
    sys.stderr.buffer.flush()
    return answer.exit_code & 0xFF


def _running(cri: Client, name: str) -> Container:
    """The running container that is meant, or the only one of the pod that is."""
    inventory = Inventory.of(cri)
    found = inventory.either(name)
    container = only_running(inventory, found) if isinstance(found, Pod) else found
    if not container.running:
        raise FailedPrecondition(f'container "{container.full_name}" does not run')
    return container


def only_running(inventory: Inventory, pod: Pod) -> Container:
    """The one container of a pod that runs."""
    running = [container for container in inventory.members(pod) if container.running]
    if len(running) == 1:
        return running[0]
    if not running:
        raise FailedPrecondition(f'no container of pod "{pod.full_name}" runs')
    choices = ", ".join(f"{pod.name}/{container.name}" for container in running)
    raise FailedPrecondition(f'several containers of pod "{pod.full_name}" run: name one of {choices}')
