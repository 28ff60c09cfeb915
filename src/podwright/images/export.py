"""Writing an image as an OCI layout (image specification, image-layout.md).

The store keeps layers unpacked, so their archives are made anew: the files are the same, the digests are not, and so
the exported image has an id of its own.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from podwright.errors import FailedPrecondition
from podwright.images.disk import room_for
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
    made = await asyncio.to_thread(_prepare, path)
    try:
        blobs = os.path.join(path, _BLOBS)
        packed = [await _pack(directory, blobs, unpacker) for directory in layers]
        await asyncio.to_thread(_write_documents, image, packed, path)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(_undo, path, whole=made))
        raise


def _prepare(path: str) -> bool:
    """Makes the directories; returns whether `path` itself was missing."""
    try:
        made = not os.path.isdir(path)
        if made:
            os.makedirs(path)
        elif os.listdir(path):
            raise FailedPrecondition(f"path: {path!r} is not empty")
        os.makedirs(os.path.join(path, _BLOBS))
    except OSError as error:
        raise FailedPrecondition(f"path: {path!r} cannot be made a directory: {error.strerror}") from None
    return made


def _undo(path: str, *, whole: bool) -> None:
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    if whole:
        os.rmdir(path)


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
    document = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "layers": [{"mediaType": manifest.OCI_LAYER, "digest": x.digest, "size": x.size} for x in layers],
    }
    with room_for(f"the image in {path!r}"):
        document["config"] = _descriptor(blobs, manifest.OCI_CONFIG, config)
        described = _descriptor(blobs, manifest.OCI_MANIFEST, document)
        named = [{**described, "annotations": _names(tag)} for tag in image.repo_tags]
        with open(os.path.join(path, "index.json"), "x", encoding="utf-8") as file:
            json.dump({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": named or [described]}, file)
        with open(os.path.join(path, "oci-layout"), "x", encoding="utf-8") as file:
            json.dump({"imageLayoutVersion": "1.0.0"}, file)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            libc.syncfs(fd)
        finally:
            os.close(fd)


def _names(tag: str) -> dict[str, str]:
    """The annotations for a name: the whole one as containerd has it, and the tag that other tools ask for."""
    return {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag.rpartition(":")[2]}


def _descriptor(blobs: str, media_type: str, document: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    with open(_blob(blobs, digest), "wb") as file:
        file.write(body)
    return {"mediaType": media_type, "digest": digest, "size": len(body)}
