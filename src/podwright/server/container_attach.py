"""Attach."""

from podwright.core import container_attach
from podwright.core.runtime import Runtime
from podwright.core.stream_requests import AttachRequest
from podwright.cri import v1
from podwright.server.container_exec import wanted_streams
from podwright.server.dispatch import Call


async def attach(runtime: Runtime, request: v1.AttachRequest, _call: Call) -> v1.AttachResponse:
    """Prepares the streams of a running container; they flow when a client comes to the URL."""
    wanted = wanted_streams(request)
    container = runtime.index.container(request.container_id)
    container_attach.check(container, wanted)
    return v1.AttachResponse(url=runtime.streams.url(AttachRequest(container, wanted)))
