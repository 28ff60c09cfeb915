"""ListImages."""

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.server.image_messages import image_message


async def list_images(runtime: Runtime, request: v1.ListImagesRequest, _call: Call) -> v1.ListImagesResponse:
    """All images, or the one that the filter names."""
    if request.filter.image.image:
        image = runtime.images.find(request.filter.image.image)
        images = [image] if image else []
    else:
        images = runtime.images.list_images()
    return v1.ListImagesResponse(images=[image_message(image) for image in images])
