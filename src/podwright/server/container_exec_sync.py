"""ExecSync."""

from podwright.core.container_exec import execute
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def exec_sync(runtime: Runtime, request: v1.ExecSyncRequest, _call: Call) -> v1.ExecSyncResponse:
    """Runs a command in the container to its end."""
    if not request.cmd:
        raise InvalidArgument("cmd is empty")
    if request.timeout < 0:
        raise InvalidArgument(f"timeout is negative: {request.timeout}")
    container = runtime.index.container(request.container_id)
    done = await execute(runtime, container, list(request.cmd), request.timeout or None)
    return v1.ExecSyncResponse(stdout=done.stdout, stderr=done.stderr, exit_code=done.status)
