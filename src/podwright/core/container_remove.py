"""RemoveContainer, and the end of containers that were never made whole."""

import asyncio
import contextlib
import os

from podwright.core.container_stop import stop_container
from podwright.core.runtime import Runtime
from podwright.state.records import Container


async def remove_container(runtime: Runtime, container: Container) -> None:
    """Kills the container if need be and removes all of it but its log, which is the kubelet's; may be repeated."""
    await kill_container(runtime, container)
    async with container.lock:
        if container.id not in runtime.index.containers:  # another call was quicker
            return
        await runtime.index.update_container(container, phase="removing")
        await runtime.nri.remove_container(container)
        await runtime.ledger.release(container.id)
        await runtime.index.drop_container(container)


async def remove_by_id(runtime: Runtime, container_id: str) -> None:
    """Removes the container with this id, if there is one."""
    container = runtime.index.containers.get(container_id)
    if container is not None:
        await remove_container(runtime, container)


async def kill_container(runtime: Runtime, container: Container) -> None:
    """Kills the container and waits for its end. One that is being created is awaited first; what is left of a
    creation that failed is removed.
    """
    async with container.lock:
        if container.id in runtime.index.containers and container.status.phase == "creating":
            await abandon_container(runtime, container)
    if container.id in runtime.index.containers:
        await stop_container(runtime, container, 0)
        await runtime.nri.stop_container(container)  # it may have ended by itself, a moment ago


async def abandon_container(runtime: Runtime, container: Container) -> None:
    """Removes a container that was never created, or that nobody has been told of. The caller holds its lock."""
    if container.status.phase != "creating":  # else the next daemon, after a crash, would take it for whole
        await runtime.index.update_container(container, phase="creating")
    await runtime.nri.undo_container(container)
    await runtime.ledger.release(container.id)
    if container.facts.log_path:
        await asyncio.to_thread(_remove_empty, container.facts.log_path, container.sandbox.config.log_directory)
    await runtime.index.drop_container(container)


def _remove_empty(path: str, log_directory: str) -> None:
    """Removes the log that conmon has made, and its directories, but nothing that has something in it."""
    with contextlib.suppress(OSError):
        if os.path.getsize(path) == 0:
            os.unlink(path)
        inside = os.path.normpath(log_directory) + "/"
        path = os.path.normpath(path)
        while path.startswith(inside):
            path = os.path.dirname(path)
            os.rmdir(path)
