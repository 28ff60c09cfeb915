"""PullImage."""

import contextlib

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.images.model import Credentials
from podwright.server.dispatch import Call
from podwright.state.records import sandbox_name
from podwright.trace import step


async def pull_image(runtime: Runtime, request: v1.PullImageRequest, _call: Call) -> v1.PullImageResponse:
    """Brings the image to the node and answers with its id, which is what lists and statuses call it by too."""
    if not request.image.image:
        raise InvalidArgument("image.image is empty")
    runtime.handler(request.image.runtime_handler)  # raises; all of them run the same images
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
    # Kubelets say for which pod: then the pull is a stage of its life.
    sandbox_id = runtime.index.holder(sandbox_name(request.sandbox_config.metadata))
    with step("sandbox.image", sandbox_id) if sandbox_id else contextlib.nullcontext():
        return v1.PullImageResponse(image_ref=await runtime.images.pull(request.image.image, credentials))
