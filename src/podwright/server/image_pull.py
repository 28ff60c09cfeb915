"""PullImage."""

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.images.model import Credentials
from podwright.server.dispatch import Call


async def pull_image(runtime: Runtime, request: v1.PullImageRequest, _call: Call) -> v1.PullImageResponse:
    """Brings the image to the node and answers with its id, which is what lists and statuses call it by too."""
    if not request.image.image:
        raise InvalidArgument("image.image is empty")
    credentials = None
    if request.HasField("auth"):
        auth = request.auth
        credentials = Credentials(
            username=auth.username,
            password=auth.password,
            auth=auth.auth,
            server_address=auth.server_address,
            identity_token=auth.identity_token,
            registry_token=auth.registry_token,
        )
    return v1.PullImageResponse(image_ref=await runtime.images.pull(request.image.image, credentials))
