"""Images for tests, made in memory: layers of given files, their manifests, indexes, and all of it as an OCI layout.

Nothing here checks what it is given: hostile layers are made with the same functions.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from podwright.wire import manifest

Compression = Literal["gzip", "zstd", "none"]

MTIME: Final = 1_600_000_000
_SUFFIX: Final[Mapping[str, str]] = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of a content."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


# ---- entries of layers

Entry = tuple[tarfile.TarInfo, bytes]


def file(name: str, content: bytes = b"", mode: int = 0o644, **fields: Any) -> Entry:  # noqa: ANN401
    """A regular file. `fields` are attributes of tarfile.TarInfo; `xattrs` are set too."""
    return _entry(name, tarfile.REGTYPE, mode, fields, content)


def directory(name: str, mode: int = 0o755, **fields: Any) -> Entry:  # noqa: ANN401
    """A directory."""
    return _entry(name, tarfile.DIRTYPE, mode, fields)


def symlink(name: str, target: str, **fields: Any) -> Entry:  # noqa: ANN401
    """A symbolic link."""
    return _entry(name, tarfile.SYMTYPE, 0o777, {"linkname": target, **fields})


def hardlink(name: str, target: str, **fields: Any) -> Entry:  # noqa: ANN401
    """Another name of an earlier file."""
    return _entry(name, tarfile.LNKTYPE, 0o644, {"linkname": target, **fields})


def device(name: str, major: int, minor: int, **fields: Any) -> Entry:  # noqa: ANN401
    """A character device."""
    return _entry(name, tarfile.CHRTYPE, 0o666, {"devmajor": major, "devminor": minor, **fields})


def fifo(name: str, mode: int = 0o644, **fields: Any) -> Entry:  # noqa: ANN401
    """A pipe."""
    return _entry(name, tarfile.FIFOTYPE, mode, fields)


def whiteout(name: str) -> Entry:
    """Says that a file of the layers below is gone."""
    parent, slash, base = name.rpartition("/")
    return file(f"{parent}{slash}.wh.{base}")


def opaque(name: str) -> Entry:
    """Says that all of a directory in the layers below is gone."""
    return file(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq")


def _entry(name: str, kind: bytes, mode: int, fields: Mapping[str, Any], content: bytes = b"") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.mtime = kind, mode, len(content), MTIME
    headers: dict[str, str] = {}
    for key, value in fields.items():
        if key == "xattrs":
            for attribute, data in value.items():
                headers[f"SCHILY.xattr.{attribute}"] = data.decode("utf-8", "surrogateescape")
        else:
            setattr(info, key, value)
    info.pax_headers = headers
    return info, content


def tar(entries: Iterable[Entry]) -> bytes:
    """An archive, in PAX format."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return output.getvalue()


# ---- layers and images


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its blob, and what is said of it."""

    blob: bytes = field(repr=False)
    diff_id: str
    media_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of the blob."""
        return digest_of(self.blob)

    def descriptor(self) -> dict[str, Any]:
        """As manifests have it."""
        described: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.blob)}
        return {**described, "annotations": dict(self.annotations)} if self.annotations else described


def layer(*entries: Entry, compression: Compression = "gzip") -> Layer:
    """A layer of these files."""
    return packed(tar(entries), compression)


def packed(archive: bytes, compression: Compression = "gzip") -> Layer:
    """A layer of an archive, good or bad."""
    return Layer(compress(archive, compression), digest_of(archive), manifest.OCI_LAYER + _SUFFIX[compression])


def compress(content: bytes, compression: Compression) -> bytes:
    """As layers of this compression have it."""
    match compression:
        case "gzip":
            return gzip.compress(content, 1, mtime=0)
        case "zstd":
            import zstandard  # noqa: PLC0415  not a part of every Python's installation

            return zstandard.ZstdCompressor(level=1).compress(content)
        case "none":
            return content


def item(name: str, content: bytes, media_type: str = "application/octet-stream", **annotations: str) -> Layer:
    """A file of an artifact."""
    titled = {"org.opencontainers.image.title": name} if name else {}
    return Layer(content, digest_of(content), media_type, {**titled, **annotations})


@dataclass(frozen=True, slots=True)
class Built:
    """A manifest or an index, with all that it points to."""

    body: bytes = field(repr=False)
    media_type: str
    blobs: Mapping[str, bytes] = field(repr=False)
    """Content by digest: configuration and layers."""
    id: str = ""
    """The digest of the configuration."""
    platform: Mapping[str, str] = field(default_factory=dict)
    parts: tuple["Built", ...] = ()
    """The manifests of an index."""

    @property
    def digest(self) -> str:
        """Of the manifest or index."""
        return digest_of(self.body)


def image(
    *layers: Layer,
    config: Mapping[str, Any] | None = None,
    docker: bool = False,
    platform: Mapping[str, str] | None = None,
    diff_ids: Iterable[str] | None = None,
    **fields: Any,  # noqa: ANN401
) -> Built:
    """An image. `config` is the part of that name in its configuration; `diff_ids` replaces the true ones; `fields`
    are added to the manifest.
    """
    place = dict(platform or {"os": "linux", "architecture": _machine()})
    document = {
        **place,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids or (one.diff_id for one in layers))},
        "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
    }
    raw = _json(document)
    media_type = manifest.DOCKER_MANIFEST if docker else manifest.OCI_MANIFEST
    described = {
        "mediaType": manifest.DOCKER_CONFIG if docker else manifest.OCI_CONFIG,
        "digest": digest_of(raw),
        "size": len(raw),
    }
    return _built(media_type, described, raw, layers, place, fields)


def artifact(*items: Layer, artifact_type: str = "application/vnd.example.data") -> Built:
    """Files that are no image."""
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2}
    return _built(manifest.OCI_MANIFEST, config, b"{}", items, {}, {"artifactType": artifact_type})


def _built(
    media_type: str,
    config: Mapping[str, Any],
    raw: bytes,
    layers: tuple[Layer, ...],
    place: Mapping[str, str],
    fields: Mapping[str, Any],
) -> Built:
    described = [one.descriptor() for one in layers]
    body = _json({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": described, **fields})
    blobs = {digest_of(raw): raw, **{one.digest: one.blob for one in layers}}
    return Built(body, media_type, blobs, digest_of(raw), place)


def index(*images: Built, docker: bool = False) -> Built:
    """One name for images of several platforms."""
    media_type = manifest.DOCKER_LIST if docker else manifest.OCI_INDEX
    entries = [
        {
            "mediaType": one.media_type,
            "digest": one.digest,
            "size": len(one.body),
            **({"platform": one.platform} if one.platform else {}),
        }
        for one in images
    ]
    body = _json({"schemaVersion": 2, "mediaType": media_type, "manifests": entries})
    return Built(body, media_type, {}, parts=images)


def write_layout(directory: str, images: Mapping[str, Built]) -> None:
    """Writes images, by name, as an OCI layout."""
    blobs = os.path.join(directory, "blobs/sha256")
    os.makedirs(blobs)
    entries = []
    for name, one in images.items():
        for content in _contents(one):
            with open(os.path.join(blobs, digest_of(content).partition(":")[2]), "wb") as output:
                output.write(content)
        annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        entries.append({"mediaType": one.media_type, "digest": one.digest, "size": len(one.body), **annotations})
    for name, document in (
        ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
        ("index.json", {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": entries}),
    ):
        with open(os.path.join(directory, name), "wb") as output:
            output.write(_json(document))


def _contents(built: Built) -> Iterator[bytes]:
    yield built.body
    yield from built.blobs.values()
    for part in built.parts:
        yield from _contents(part)


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _machine() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
