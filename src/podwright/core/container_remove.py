"""RemoveContainer."""

from podwright.core.container_stop import kill_container
from podwright.core.runtime import Runtime
from podwright.state.records import Container


async def remove_container(runtime: Runtime, container: Container) -> None:
    """Kills the container if need be and removes all of it but its log, which is the kubelet's; may be repeated."""
    await kill_container(runtime, container)
    async with container.lock:
        if container.id not in runtime.index.containers:  # another call was quicker
            return
        await runtime.index.update_container(container, phase="removing")
        await runtime.ledger.release(container.id)
        await runtime.index.drop_container(container)


async def remove_by_id(runtime: Runtime, container_id: str) -> None:
    """Removes the container with this id, if there is one."""
    container = runtime.index.containers.get(container_id)
    if container is not None:
        await remove_container(runtime, container)
