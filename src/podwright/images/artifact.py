"""Artifacts: what registries keep that is no image (OCI image specification, manifest.md, "Guidelines for Artifact
Usage"). Their blobs become the files of one directory, for image volumes.

A blob's place in it is its title, as ORAS and CRI-O have it; a blob without one is called by the digits of its digest.
"""

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence

from podwright.errors import InvalidArgument
from podwright.images.disk import room_for
from podwright.images.download import Download
from podwright.images.layers import Layers
from podwright.images.model import ImageSettings
from podwright.images.progress import LayerState
from podwright.images.registry import Registry, file_digest
from podwright.images.tasks import together
from podwright.images.transport import Host
from podwright.images.unpack import Unpacked
from podwright.images.usage import usage
from podwright.wire.manifest import Descriptor

_TITLE = "org.opencontainers.image.title"
_EMPTY = "application/vnd.oci.empty.v1+json"
_LONGEST_NAME = 255


def key(digest: str) -> str:
    """What the store calls the directory of an artifact with this manifest."""
    return f"artifact:{digest}"


def files(blobs: Sequence[Descriptor]) -> dict[str, Descriptor]:
    """The path of each blob in the directory. Raises InvalidArgument for one that is none, or is there twice."""
    found: dict[str, Descriptor] = {}
    for blob in blobs:
        if blob.media_type == _EMPTY:
            continue
        path = blob.annotations.get(_TITLE) or blob.digest.partition(":")[2]
        parts = path.split("/")
        names = [part for part in parts if part not in ("", ".", "..")]
        if names != parts or "\0" in path or any(len(name.encode()) > _LONGEST_NAME for name in names):
            raise InvalidArgument(f"the artifact has a file with the title {path!r}, which is no path in a directory")
        found[path] = blob
    for path in found:
        if any(other.startswith(f"{path}/") for other in found):
            raise InvalidArgument(f"the artifact has a file {path!r} and others below it")
    if len(found) < sum(blob.media_type != _EMPTY for blob in blobs):
        raise InvalidArgument("the artifact has two files with the same title")
    return found


async def fetch(
    registry: Registry,
    owner: str,
    wanted: Mapping[str, Descriptor],
    states: Mapping[str, LayerState],
    directory: str,
    layers: Layers,
    settings: ImageSettings,
) -> Unpacked:
    """Fills an empty directory with the files of an artifact, whose key is `owner`: blobs by path, states by digest.

    Raises as Registry.blob, InvalidArgument, ResourceExhausted.
    """
    paths: dict[str, list[str]] = {}
    for path, blob in wanted.items():
        paths.setdefault(blob.digest, []).append(os.path.join(directory, path))
    async with together() as group:
        for digest, places in paths.items():
            group.create_task(_fetch(registry, states[digest], owner, places, layers, settings))
    counted = await asyncio.to_thread(usage, directory)
    return Unpacked("", "", *counted)


async def _fetch(
    registry: Registry,
    state: LayerState,
    owner: str,
    places: Sequence[str],
    layers: Layers,
    settings: ImageSettings,
) -> None:
    """Fetches one blob, if need be from one host after the other, until the digest is right."""
    blob = state.descriptor
    liars: set[Host] = set()
    name = f"{blob.digest.partition(':')[2][:64]}.{hashlib.sha256(owner.encode()).hexdigest()[:16]}"
    with layers.blob(name) as partial:
        while True:
            state.download = Download(registry, blob, partial, lambda _frontier: None, settings)
            await asyncio.to_thread(state.download.prepare)
            await state.download.run(liars)
            if await asyncio.to_thread(file_digest, partial, blob.digest) == blob.digest:
                break
            await asyncio.to_thread(os.unlink, partial)
            if not state.download.resumed:
                liars |= state.download.sources
        await asyncio.to_thread(_place, partial, places)
    state.done = True


def _place(partial: str, places: Sequence[str]) -> None:
    """Gives the file all its names."""
    with room_for(places[0]):
        os.chmod(partial, 0o644)
        for place in places:
            os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
            os.link(partial, place)
    os.unlink(partial)
