"""What a container's status calls its image.

Kubelets create containers by the image's id, and show what the status says to people and scanners, as `image` and
`imageID` of the pod's status: there the name that the pod asks for and the digest in its repository are of use, not
the id, which has a field of its own (image_id).
"""

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.images.model import Image
from podwright.wire import reference
from podwright.wire.reference import Reference


def names(image: Image, asked: v1.ImageSpec) -> tuple[str, str]:
    """The complete name that was asked for, else a tag of the image; and its digest in that repository, else another.

    The id stands for what there is not, as for an image that was loaded from a disk.
    """
    wanted = _reference(asked.user_specified_image) or _reference(asked.image)
    digests = image.repo_digests
    if wanted is not None:
        digests = (*(one for one in digests if one.startswith(f"{wanted.name}@")), *digests)
    name = str(wanted) if wanted is not None else next(iter((*image.repo_tags, *digests)), image.id)
    return name, next(iter(digests), image.id)


def _reference(text: str) -> Reference | None:
    try:
        return reference.parse(text)
    except InvalidArgument:  # an id, or nothing
        return None
