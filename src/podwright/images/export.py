"""Writing an image as an OCI layout (image specification, image-layout.md).

The store keeps layers unpacked, so their archives are made anew: the files are the same, the digests are not, and so
the exported image has an id of its own.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from podwright.errors import FailedPrecondition, ResourceExhausted
from podwright.images.model import Image
from podwright.images.unpack import Packed, Unpacker
from podwright.kernel import libc
from podwright.wire import manifest

_BLOBS = "blobs/sha256"


async def save(image: Image, layers: Iterable[str], path: str, unpacker: Unpacker) -> None:
    """Writes the image into the directory `path`, which must not exist or be empty. `layers` are directories, the
    lowest layer first.

    Raises FailedPrecondition, ResourceExhausted for a full disk; then nothing is left of it.
    """
    with _directory(path):
        blobs = os.path.join(path, _BLOBS)
        await asyncio.to_thread(os.makedirs, blobs)
        packed = [await _pack(directory, blobs, unpacker) for directory in layers]
        await asyncio.to_thread(_write_documents, image, packed, path)


@contextlib.contextmanager
def _directory(path: str) -> Iterator[None]:
    try:
        made = not os.path.isdir(path)
        if made:
            os.makedirs(path)
        elif os.listdir(path):
            raise FailedPrecondition(f"path: {path!r} is not empty")
    except OSError as error:
        raise FailedPrecondition(f"path: {path!r} cannot be made a directory: {error.strerror}") from None
    try:
        yield
    except BaseException:
        for entry in os.listdir(path):
            whole = os.path.join(path, entry)
            shutil.rmtree(whole) if os.path.isdir(whole) else os.unlink(whole)
        if made:
            os.rmdir(path)
        raise


async def _pack(directory: str, blobs: str, unpacker: Unpacker) -> Packed:
    unnamed = os.path.join(blobs, "layer")
    packed = await unpacker.pack(directory, unnamed, layer=True)
    os.rename(unnamed, _blob(blobs, packed.digest))
    return packed


def _blob(blobs: str, digest: str) -> str:
    return os.path.join(blobs, digest.removeprefix("sha256:"))


def _write_documents(image: Image, layers: list[Packed], path: str) -> None:
    blobs = os.path.join(path, _BLOBS)
    config: dict[str, Any] = json.loads(image.raw_config)
    config["rootfs"] = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
    described = _descriptor(
        blobs,
        manifest.OCI_MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": _descriptor(blobs, manifest.OCI_CONFIG, config),
            "layers": [{"mediaType": manifest.OCI_LAYER, "digest": x.digest, "size": x.size} for x in layers],
        },
    )
    named = [{**described, "annotations": {"org.opencontainers.image.ref.name": tag}} for tag in image.repo_tags]
    try:
        with open(os.path.join(path, "index.json"), "x", encoding="utf-8") as file:
            json.dump({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": named or [described]}, file)
        with open(os.path.join(path, "oci-layout"), "x", encoding="utf-8") as file:
            json.dump({"imageLayoutVersion": "1.0.0"}, file)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            libc.syncfs(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise ResourceExhausted(f"cannot write {path!r}: {error}") from error


def _descriptor(blobs: str, media_type: str, document: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    with open(_blob(blobs, digest), "wb") as file:
        file.write(body)
    return {"mediaType": media_type, "digest": digest, "size": len(body)}
