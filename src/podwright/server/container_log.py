"""ReopenContainerLog."""

from podwright.core.container_log import reopen_log
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def reopen(runtime: Runtime, request: v1.ReopenContainerLogRequest, _call: Call) -> v1.ReopenContainerLogResponse:
    """Makes the container write to its log's path anew; the file is there when this answers."""
    await reopen_log(runtime, runtime.index.container(request.container_id))
    return v1.ReopenContainerLogResponse()
