"""Images as CRI messages."""

from podwright.cri import v1
from podwright.images.model import Image
from podwright.oci.users import id_of


def image_message(image: Image) -> v1.Image:
    """An image in lists and statuses. Its user is a number or a name, never both (api.proto)."""
    user = image.config.user.partition(":")[0]
    uid = id_of(user)
    return v1.Image(
        id=image.id,
        repo_tags=image.repo_tags,
        repo_digests=image.repo_digests,
        size=image.size,
        uid=None if uid is None else v1.Int64Value(value=uid),
        username=user if uid is None else "",
        spec=v1.ImageSpec(image=image.id),
        pinned=image.pinned,
    )
