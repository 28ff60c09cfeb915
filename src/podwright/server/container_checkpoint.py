"""CheckpointContainer."""

from podwright.core.container_checkpoint import checkpoint_container
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def checkpoint(
    runtime: Runtime, request: v1.CheckpointContainerRequest, _call: Call
) -> v1.CheckpointContainerResponse:
    """Writes a running container into an archive; it runs on."""
    if request.timeout < 0:
        raise InvalidArgument(f"timeout is negative: {request.timeout}")
    container = runtime.index.container(request.container_id)
    await checkpoint_container(runtime, container, request.location, request.timeout or None)
    return v1.CheckpointContainerResponse()
