"""StartContainer."""

from podwright.core.container_start import start_container
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def start(runtime: Runtime, request: v1.StartContainerRequest, _call: Call) -> v1.StartContainerResponse:
    """Runs the command of a created container."""
    await start_container(runtime, runtime.index.container(request.container_id))
    return v1.StartContainerResponse()
