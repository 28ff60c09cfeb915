"""ImageStatus."""

import json

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call
from podwright.server.image_messages import image_message


async def image_status(runtime: Runtime, request: v1.ImageStatusRequest, _call: Call) -> v1.ImageStatusResponse:
    """The image; an answer without one if it is not on the node, which is no failure."""
    if not request.image.image:
        raise InvalidArgument("image.image is empty")
    image = runtime.images.find(request.image.image)
    if image is None:
        return v1.ImageStatusResponse()
    info = None
    if request.verbose:
        info = {"info": json.dumps({"imageSpec": json.loads(image.raw_config)})}
    return v1.ImageStatusResponse(image=image_message(image), info=info)
