"""`podwright checkpoint`: what a container, or a pod, is at this moment, on disk (docs/checkpoint.md)."""

import argparse
import math
import os

from podwright.cli.connection import connect
from podwright.cli.inventory import Inventory, Pod
from podwright.client import Client
from podwright.errors import FailedPrecondition


def checkpoint(options: argparse.Namespace) -> int:
    """Writes an archive for a container, a directory for all that runs in a pod; they run on. Prints the path."""
    path = os.path.abspath(options.path)
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        found = inventory.either(options.name)
        if isinstance(found, Pod):
            _checkpoint_pod(cri, inventory, found, path, options.limit)
        else:
            cri.checkpoint_container(
                found.id, path, timeout=options.limit, deadline=None if options.limit else math.inf
            )
    print(path)
    return 0


def _checkpoint_pod(cri: Client, inventory: Inventory, pod: Pod, path: str, limit: int) -> None:
    running = [container.id for container in inventory.members(pod) if container.running]
    if not running:
        raise FailedPrecondition(f'no container of pod "{pod.full_name}" runs')
    made = not os.path.isdir(path)
    if made:
        try:
            os.mkdir(path, 0o700)
        except OSError as error:
            raise FailedPrecondition(f'directory "{path}" cannot be made: {error.strerror}') from None
    try:
        cri.checkpoint_pod(pod.id, path, container_ids=running, deadline=limit or math.inf)
    except BaseException:
        if made:
            os.rmdir(path)  # the runtime has left it empty
        raise
