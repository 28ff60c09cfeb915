"""PortForward."""

from podwright.core import sandbox_port_forward
from podwright.core.runtime import Runtime
from podwright.core.stream_requests import PortForwardRequest
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def port_forward(runtime: Runtime, request: v1.PortForwardRequest, _call: Call) -> v1.PortForwardResponse:
    """Prepares connections to ports of a sandbox; they are made when a client comes to the URL and asks for them."""
    for index, port in enumerate(request.port):
        if not 0 < port < 1 << 16:
            raise InvalidArgument(f"port[{index}]: {port} is not the number of a port")
    sandbox = runtime.index.sandbox(request.pod_sandbox_id)
    sandbox_port_forward.check(sandbox)
    return v1.PortForwardResponse(url=runtime.streams.url(PortForwardRequest(sandbox, tuple(request.port))))
