"""RemoveImage."""

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def remove_image(runtime: Runtime, request: v1.RemoveImageRequest, _call: Call) -> v1.RemoveImageResponse:
    """Deletes the image with all its names."""
    if not request.image.image:
        raise InvalidArgument("image.image is empty")
    await runtime.images.remove(request.image.image)
    return v1.RemoveImageResponse()
