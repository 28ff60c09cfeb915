"""`podwright exec`: a command in a running container, without standard input."""

import argparse
import sys

from podwright.cli.connection import connect
from podwright.cli.inventory import Container, Inventory, Pod
from podwright.errors import FailedPrecondition, InvalidArgument


def execute(options: argparse.Namespace) -> int:
    """Prints what the command printed, returns its exit status."""
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise InvalidArgument("exec takes a command: podwright exec NAME -- COMMAND…")
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        found = inventory.either(options.name)
        container = only_running(inventory, found) if isinstance(found, Pod) else found
        if not container.running:
            raise FailedPrecondition(f'container "{container.full_name}" does not run')
        answer = cri.exec_sync(container.id, command, timeout=options.limit)
    sys.stdout.buffer.write(answer.stdout)
    sys.stdout.buffer.flush()
    sys.stderr.buffer.write(answer.stderr)
    sys.stderr.buffer.flush()
    return answer.exit_code & 0xFF


def only_running(inventory: Inventory, pod: Pod) -> Container:
    """The one container of a pod that runs."""
    running = [container for container in inventory.members(pod) if container.running]
    if len(running) == 1:
        return running[0]
    if not running:
        raise FailedPrecondition(f'no container of pod "{pod.full_name}" runs')
    choices = ", ".join(f"{pod.name}/{container.name}" for container in running)
    raise FailedPrecondition(f'several containers of pod "{pod.full_name}" run: name one of {choices}')
