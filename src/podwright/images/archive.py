"""Images from files: OCI layouts, what `docker save` writes, each as a directory or a tar archive, and directories
with a root file system.

Archives are not extracted: blobs are read where they lie in them.
"""

import asyncio
import contextlib
import json
import logging
import os
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from podwright.errors import InvalidArgument, NotFound
from podwright.images import stack
from podwright.images.disk import room_for
from podwright.images.inflate import PIECE, Blob, open_layer
from podwright.images.layers import Layers
from podwright.images.pull import Pulled
from podwright.images.registry import digest_of
from podwright.images.unpack import Below, Feed, Packed, Source, Unpacked, Unpacker
from podwright.wire import manifest, reference
from podwright.wire.manifest import Descriptor, Manifest
from podwright.wire.platform import Platform

logger = logging.getLogger(__name__)

_MOST_MEMBERS = 100_000
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_DEEPEST_INDEX = 3

Record = Callable[[Pulled, set[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Blob:
    """A layer in a file, and its digest where that is known."""

    source: Source
    digest: str


@dataclass(frozen=True, slots=True)
class Found:
    """An image of an archive."""

    raw_config: bytes
    digest: str
    """Of its manifest or index; empty if it has none."""
    layers: tuple[_Blob, ...]
    names: tuple[str, ...]
    """As references."""


class _Files(Protocol):
    """The files of an archive, by their names in it."""

    def source(self, name: str) -> Source | None:
        """Where a file is; None if there is none."""


@dataclass(frozen=True, slots=True)
class _Directory:
    path: str
    """Without symbolic links in it."""

    def source(self, name: str) -> Source | None:
        path = os.path.realpath(os.path.join(self.path, name))
        inside = path.startswith(self.path.rstrip("/") + "/")  # names come from the documents in there
        return Source(path, os.path.getsize(path)) if inside and os.path.isfile(path) else None


@dataclass(frozen=True, slots=True)
class _Tar:
    path: str
    members: Mapping[str, tarfile.TarInfo]

    def source(self, name: str) -> Source | None:
        for _ in range(10):  # docker save links layers that images share
            member = self.members.get(os.path.normpath(name))
            if member is None:
                return None
            if member.issym():
                name = os.path.join(os.path.dirname(member.name), member.linkname)
            elif member.islnk():
                name = member.linkname
            else:
                return Source(self.path, member.size, member.offset_data) if member.isreg() else None
        return None


@contextlib.asynccontextmanager
async def open_archive(
    path: str, layers: Layers, unpacker: Unpacker, machine: Platform, *, name: str, config: bytes
) -> AsyncIterator[list[Found]]:
    """The images of a file or directory; usable until the end of the block. `name` is for images that do not bring
    their own.

    Raises NotFound, InvalidArgument, ResourceExhausted.
    """
    if not await asyncio.to_thread(os.path.exists, path):
        raise NotFound(f"there is no file {path!r} to load images from")
    with layers.scratch() as scratch:
        files = await asyncio.to_thread(_open, path, scratch)
        if files is not None:
            yield await asyncio.to_thread(_read, files, path, machine, name)
        else:
            packed = await unpacker.pack(path, scratch, layer=False)
            yield [_from_directory(scratch, packed, machine, name, config)]


def _open(path: str, scratch: str) -> _Files | None:
    """The files of an archive; None for a directory that is none, but may be a root file system."""
    if not os.path.isdir(path):
        return _open_tar(path, scratch)
    files = _Directory(os.path.realpath(path))
    return files if files.source("index.json") or files.source("manifest.json") else None


def _open_tar(path: str, scratch: str) -> _Tar:
    """Lists an archive; one that is compressed is inflated into the file `scratch` first."""
    with open(path, "rb") as file:
        size = os.path.getsize(path)
        blob = Blob(file.fileno(), 0, size, "sha256", lambda _there: size)
        inside = open_layer(blob)
        if inside is not blob:
            with room_for(f"what {path!r} holds"), open(scratch, "wb") as output:
                while data := inside.read(PIECE):
                    output.write(data)
            path = scratch
    members: dict[str, tarfile.TarInfo] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                members[os.path.normpath(member.name)] = member
                if len(members) > _MOST_MEMBERS:
                    raise InvalidArgument(f"{path!r} has more than {_MOST_MEMBERS} files")
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all
    except tarfile.TarError as error:
        raise InvalidArgument(f"{path!r} is neither a tar archive nor a directory: {error}") from None
    return _Tar(path, members)


def _read(files: _Files, path: str, machine: Platform, name: str) -> list[Found]:
    found = []
    if files.source("index.json"):
        found = _from_layout(files, machine, name)
    elif files.source("manifest.json"):
        found = _from_docker(files, name)
    if not found:
        raise InvalidArgument(f"{path!r} holds no images: they would be named in its index.json or manifest.json")
    return found


# ---- OCI layouts


def _from_layout(files: _Files, machine: Platform, name: str) -> list[Found]:
    index = manifest.parse(_content(files, "index.json"), manifest.OCI_INDEX)
    if isinstance(index, Manifest):
        raise InvalidArgument("index.json is no index")
    images: dict[str, tuple[Descriptor, list[str]]] = {}
    for entry in index.manifests:
        _, names = images.setdefault(entry.digest, (entry, []))
        names.extend(_name_of(entry, name))
    return [_from_manifest(files, entry, tuple(names), machine) for entry, names in images.values()]


def _name_of(entry: Descriptor, name: str) -> list[str]:
    """The reference that an annotation gives; a bare tag is joined to `name`."""
    for key in _NAMES:
        text = entry.annotations.get(key, "")
        if "/" in text or ":" in text:
            return [str(reference.parse(text))]
        if text and name:
            return [str(reference.parse(f"{name.partition(':')[0]}:{text}"))]
    return [str(reference.parse(name))] if name else []


def _from_manifest(files: _Files, entry: Descriptor, names: tuple[str, ...], machine: Platform) -> Found:
    descriptor = entry
    for _ in range(_DEEPEST_INDEX):
        found = manifest.parse(_blob(files, descriptor), descriptor.media_type)
        if isinstance(found, Manifest):
            break
        descriptor = manifest.choose(found, machine)
    else:
        raise InvalidArgument(f"indexes are nested deeper than {_DEEPEST_INDEX}")
    if not found.is_image:
        raise InvalidArgument(f"{entry.digest} is an artifact, not an image: it can only be pulled")
    layers = []
    for layer in found.layers:
        source = files.source(_blob_name(layer))
        if source is None:
            raise InvalidArgument(f"blob {layer.digest} is missing")
        layers.append(_Blob(source, layer.digest))
    return Found(_blob(files, found.config), entry.digest, tuple(layers), names)


def _blob_name(descriptor: Descriptor) -> str:
    algorithm, _, digits = descriptor.digest.partition(":")
    return f"blobs/{algorithm}/{digits}"


def _blob(files: _Files, descriptor: Descriptor) -> bytes:
    """A document, verified."""
    body = _content(files, _blob_name(descriptor))
    if digest_of(body, descriptor.digest.partition(":")[0]) != descriptor.digest:
        raise InvalidArgument(f"blob {descriptor.digest} has another digest")
    return body


def _content(files: _Files, name: str) -> bytes:
    source = files.source(name)
    if source is None:
        raise InvalidArgument(f"{name!r} is missing")
    if source.size > manifest.LARGEST_DOCUMENT:
        raise InvalidArgument(f"{name!r} has {source.size} bytes, more than {manifest.LARGEST_DOCUMENT}")
    with open(source.path, "rb") as file:
        file.seek(source.offset)
        return file.read(source.size)


# ---- docker save


def _from_docker(files: _Files, name: str) -> list[Found]:
    try:
        entries = json.loads(_content(files, "manifest.json"))
        images = [(entry["Config"], entry["Layers"] or [], entry["RepoTags"] or []) for entry in entries]
        assert isinstance(entries, list)
        assert all(isinstance(text, str) for config, layers, tags in images for text in (config, *layers, *tags))
    except (ValueError, TypeError, KeyError, RecursionError, AssertionError):
        raise InvalidArgument("manifest.json is not what docker save writes") from None
    found = []
    for config, paths, tags in images:
        layers = []
        for path in paths:
            source = files.source(path)
            if source is None:
                raise InvalidArgument(f"the layer {path!r} is missing")
            layers.append(_Blob(source, ""))
        names = tuple(str(reference.parse(tag)) for tag in tags or ([name] if name else []))
        found.append(Found(_content(files, config), "", tuple(layers), names))
    return found


# ---- root file systems


def _from_directory(path: str, packed: Packed, machine: Platform, name: str, config: bytes) -> Found:
    if not name:
        raise InvalidArgument("name: a root file system needs one to become an image")
    try:
        given = json.loads(config or b"{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise InvalidArgument("config: is no image configuration")
    document = {"architecture": machine.architecture, "os": machine.os, **given}
    document["rootfs"] = {"type": "layers", "diff_ids": [packed.digest]}
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return Found(raw, "", (_Blob(Source(path, packed.size), packed.digest),), (str(reference.parse(name)),))


# ---- bringing them into the store


async def load(found: Found, layers: Layers, unpacker: Unpacker, machine: Platform, record: Record) -> str:
    """Unpacks what is missing of an image and writes it down. Returns its id."""
    config = manifest.parse_config(found.raw_config)
    manifest.check_platform(config, machine)
    if len(config.diff_ids) != len(found.layers):
        raise InvalidArgument(f"the image has {len(found.layers)} layers, but {len(config.diff_ids)} diff IDs")
    image_id = digest_of(found.raw_config)
    names: set[str] = set()
    for text in found.names:
        name = reference.parse(text)
        names |= {name.tagged()} if name.tagged() else set()
        names |= {name.digested(found.digest)} if found.digest else set()
    blobs = dict(zip(config.diff_ids, found.layers, strict=True))

    async def obtain(key: str, diff_id: str, below: Below | None) -> None:
        await _unpack(key, diff_id, blobs[diff_id], below, layers, unpacker)

    with layers.held([*config.diff_ids, *stack.chain_keys(config.diff_ids)]):
        keys = await stack.bring(layers, config.diff_ids, obtain)
        await asyncio.shield(record(Pulled(image_id, found.raw_config, found.digest, keys), names))
    return image_id


async def _unpack(key: str, diff_id: str, blob: _Blob, below: Below | None, layers: Layers, unpacker: Unpacker) -> None:
    async def make(directory: str) -> Unpacked:
        algorithm = blob.digest.partition(":")[0] or "sha256"
        where = blob.source
        source = Source(where.path, where.size, where.offset, algorithm, diff_id.partition(":")[0])
        feed = Feed(where.size)
        feed.advance(where.size)
        unpacked = await unpacker.unpack(source, directory, feed, lambda _used: None, below)
        if blob.digest and unpacked.digest != blob.digest:
            raise InvalidArgument(f"layer {blob.digest} has the digest {unpacked.digest}")
        if unpacked.diff_id != diff_id:
            raise InvalidArgument(f"the layer unpacks to {unpacked.diff_id}, not to {diff_id}")
        return unpacked

    await layers.obtain(key, make)
