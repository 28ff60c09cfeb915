"""ListImages and StreamImages."""

from collections.abc import AsyncIterator

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.images.model import Image
from podwright.server.dispatch import Call
from podwright.server.image_messages import image_message
from podwright.server.portions import portions


async def list_images(runtime: Runtime, request: v1.ListImagesRequest, _call: Call) -> v1.ListImagesResponse:
    """All images, or the one that the filter names."""
    return v1.ListImagesResponse(images=[image_message(image) for image in _select(runtime, request.filter)])


async def stream_images(
    runtime: Runtime, request: v1.StreamImagesRequest, _call: Call
) -> AsyncIterator[v1.StreamImagesResponse]:
    """The same in portions."""
    for portion in portions(_select(runtime, request.filter)):
        yield v1.StreamImagesResponse(images=[image_message(image) for image in portion])


def _select(runtime: Runtime, wanted: v1.ImageFilter) -> list[Image]:
    if not wanted.image.image:
        return runtime.images.list_images()
    image = runtime.images.find(wanted.image.image)
    return [image] if image else []
