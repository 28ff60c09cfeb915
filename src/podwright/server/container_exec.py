"""Exec."""

from podwright.core import exec_process
from podwright.core.runtime import Runtime
from podwright.core.stream_requests import ExecRequest
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.oci.execution import Wanted
from podwright.server.dispatch import Call


async def exec_container(runtime: Runtime, request: v1.ExecRequest, _call: Call) -> v1.ExecResponse:
    """Prepares a command with streams; it runs when a client comes to the URL."""
    wanted = wanted_streams(request)
    exec_process.check_command(request.cmd)
    container = runtime.index.container(request.container_id)
    exec_process.check(container)
    return v1.ExecResponse(url=runtime.streams.url(ExecRequest(container, tuple(request.cmd), wanted)))


def wanted_streams(request: v1.ExecRequest | v1.AttachRequest) -> Wanted:
    """The streams asked for. Raises InvalidArgument for combinations that the protocol's comments rule out."""
    if request.tty and request.stderr:
        raise InvalidArgument("stderr: a terminal has no stderr of its own; it must be false if tty is true")
    if not (request.stdin or request.stdout or request.stderr):
        raise InvalidArgument("one of stdin, stdout and stderr must be true")
    return Wanted(tty=request.tty, stdin=request.stdin, stdout=request.stdout, stderr=request.stderr)
