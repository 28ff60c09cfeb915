"""CreateContainer."""

from podwright.core.container_create import create_container
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def create(runtime: Runtime, request: v1.CreateContainerRequest, _call: Call) -> v1.CreateContainerResponse:
    """Makes a container; its command does not run yet."""
    if not request.HasField("config"):
        raise InvalidArgument("config is missing")
    sandbox = runtime.index.sandbox(request.pod_sandbox_id)
    container_id = await create_container(runtime, sandbox, request.config)
    return v1.CreateContainerResponse(container_id=container_id)
