"""Podwright's own service beside the CRI: loading and saving images, watching pulls, checks (control/v1.proto).

It has no API version of the CRI and no mutating RPC that a kubelet could cause: an image name in a pod can never make
the daemon read a path of the host.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

from podwright.control import v1
from podwright.core import node_check
from podwright.core.runtime import Runtime
from podwright.errors import InvalidArgument
from podwright.images.model import PullProgress
from podwright.server.dispatch import Call, Streaming, Unary
from podwright.wire import reference

WATCH_SECONDS = 0.2


async def load_image(runtime: Runtime, request: v1.LoadImageRequest, _call: Call) -> v1.LoadImageResponse:
    """Puts an image from the disk into the store."""
    if not request.path.startswith("/"):
        raise InvalidArgument(f'path: "{request.path}" is not absolute; the daemon has a directory of its own')
    ids = await runtime.images.load(request.path, name=request.name, config=request.config)
    return v1.LoadImageResponse(image_ids=ids)


async def save_image(runtime: Runtime, request: v1.SaveImageRequest, _call: Call) -> v1.SaveImageResponse:
    """Writes an image as an OCI layout."""
    if not request.path.startswith("/"):
        raise InvalidArgument(f'path: "{request.path}" is not absolute; the daemon has a directory of its own')
    await runtime.images.save(request.image, request.path)
    return v1.SaveImageResponse()


async def watch_pulls(
    runtime: Runtime, request: v1.WatchPullsRequest, _call: Call
) -> AsyncIterator[v1.WatchPullsResponse]:
    """How far the pulls are, several times a second; ends when there is none (any more)."""
    wanted = str(reference.parse(request.image)) if request.image else ""
    while True:
        pulls = [pull for pull in runtime.images.progress() if wanted in ("", pull.reference)]
        yield v1.WatchPullsResponse(pulls=[_pull(progress) for progress in pulls])
        if not pulls:
            return
        await asyncio.sleep(WATCH_SECONDS)


async def check(runtime: Runtime, _request: v1.CheckRequest, _call: Call) -> v1.CheckResponse:
    """Looks at the host; changes nothing."""
    return v1.CheckResponse(findings=await node_check.findings(runtime))


def _pull(progress: PullProgress) -> v1.Pull:
    layers = [
        v1.Layer(
            digest=layer.digest,
            state=layer.state,
            bytes_done=layer.bytes_done,
            bytes_unpacked=layer.bytes_unpacked,
            bytes_total=layer.bytes_total,
        )
        for layer in progress.layers
    ]
    return v1.Pull(image=progress.reference, stage=progress.stage, started_at=progress.started_ns, layers=layers)


HANDLERS: Mapping[str, Unary | Streaming] = {
    "LoadImage": load_image,
    "SaveImage": save_image,
    "WatchPulls": watch_pulls,
    "Check": check,
}
