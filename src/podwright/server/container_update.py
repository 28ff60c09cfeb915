"""UpdateContainerResources."""

from podwright.core.container_update import update_container
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def update_resources(
    runtime: Runtime, request: v1.UpdateContainerResourcesRequest, _call: Call
) -> v1.UpdateContainerResourcesResponse:
    """Changes the limits of a created or running container."""
    if not request.HasField("linux"):
        raise InvalidArgument("linux is missing: there is nothing to update")
    await update_container(runtime, runtime.index.container(request.container_id), request.linux)
    return v1.UpdateContainerResourcesResponse()
