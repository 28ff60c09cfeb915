"""Images as CRI messages."""

from podwright.cri import v1
from podwright.images.model import Image


def image_message(image: Image) -> v1.Image:
    """An image in lists and statuses. Its user is a number or a name, never both (api.proto)."""
    user = image.config.user.partition(":")[0]
    numeric = user.isascii() and user.isdigit()
    return v1.Image(
        id=image.id,
        repo_tags=image.repo_tags,
        repo_digests=image.repo_digests,
        size=image.size,
        uid=v1.Int64Value(value=int(user)) if numeric else None,
        username="" if numeric else user,
        spec=v1.ImageSpec(image=image.id),
        pinned=image.pinned,
    )
