"""StopContainer."""

from podwright.core.container_stop import stop_container
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def stop(runtime: Runtime, request: v1.StopContainerRequest, _call: Call) -> v1.StopContainerResponse:
    """Stop signal, grace period, kill; answers when the container has exited."""
    if request.timeout < 0:
        raise InvalidArgument(f"timeout is negative: {request.timeout}")
    await stop_container(runtime, runtime.index.container(request.container_id), request.timeout)
    return v1.StopContainerResponse()
