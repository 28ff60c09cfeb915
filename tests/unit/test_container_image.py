"""core/container_image.py: the names of its image that a container's status shows."""

import pytest

from podwright.core.container_image import names
from podwright.cri import v1
from podwright.images.model import Image
from podwright.wire.manifest import ImageConfig

ID = "sha256:" + "a" * 64
DIGEST = "sha256:" + "d" * 64
WEB = f"quay.io/app/web@{DIGEST}"
COPY = f"docker.io/library/web@{DIGEST}"


def image(*repo_names: str) -> Image:
    return Image(
        id=ID,
        repo_tags=tuple(name for name in repo_names if "@" not in name),
        repo_digests=tuple(name for name in repo_names if "@" in name),
        size=1,
        config=ImageConfig(),
        layers=(),
        pinned=False,
        created_ns=1,
    )


PULLED = image("docker.io/library/web:1", COPY, "quay.io/app/web:1", "quay.io/app/web:2", WEB)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        # As kubelets ask since 1.27: by the id, and with the words of the pod.
        (v1.ImageSpec(image=ID, user_specified_image="quay.io/app/web:2"), ("quay.io/app/web:2", WEB)),
        (v1.ImageSpec(image=ID, user_specified_image="web:1"), ("docker.io/library/web:1", COPY)),
        (v1.ImageSpec(image=ID, user_specified_image=WEB), (WEB, WEB)),
        # crictl asks by the name, kubelet 1.20 by the id alone.
        (v1.ImageSpec(image="web:1"), ("docker.io/library/web:1", COPY)),
        (v1.ImageSpec(image=ID), ("docker.io/library/web:1", COPY)),
        (v1.ImageSpec(image="a" * 64), ("docker.io/library/web:1", COPY)),
        (v1.ImageSpec(image=ID, user_specified_image="Not//Valid"), ("docker.io/library/web:1", COPY)),
        # The name has gone to another image since.
        (v1.ImageSpec(image=ID, user_specified_image="quay.io/other:3"), ("quay.io/other:3", COPY)),
    ],
)
def test_of_an_image_in_two_repositories(asked: v1.ImageSpec, expected: tuple[str, str]) -> None:
    assert names(PULLED, asked) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ((), (ID, ID)),
        (("localhost/mine:1",), ("localhost/mine:1", ID)),
        ((WEB,), (WEB, WEB)),
    ],
)
def test_of_an_image_that_lacks_names(known: tuple[str, ...], expected: tuple[str, str]) -> None:
    assert names(image(*known), v1.ImageSpec(image=ID)) == expected
