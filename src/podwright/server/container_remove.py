"""RemoveContainer."""

from podwright.core.container_remove import remove_container
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def remove(runtime: Runtime, request: v1.RemoveContainerRequest, _call: Call) -> v1.RemoveContainerResponse:
    """Deletes the container, whatever its state."""
    await remove_container(runtime, runtime.index.container(request.container_id))
    return v1.RemoveContainerResponse()
