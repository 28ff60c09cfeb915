"""Manifests, indexes and image configurations: OCI image specification 1.1 and Docker's schema 2, which differ only in
media types.

What comes in is anybody's JSON: every field that is used is checked, and what is missing becomes empty.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.wire.platform import Platform, accepted
from podwright.wire.reference import is_digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
_MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"

ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
"""For the header of requests for manifests."""

LARGEST_DOCUMENT = 4 << 20
"""Bytes of a manifest or configuration; the distribution specification lets registries refuse more."""
_LARGEST_SIZE = (1 << 63) - 1  # of a file (off_t)
_MOST_LAYERS = 500  # overlayfs stacks no more (fs/overlayfs/params.h)

Json = object


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A pointer to content."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Index:
    """Manifests of one image for several platforms, or the list of contents of a layout."""

    manifests: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image, or one artifact."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str

    @property
    def is_image(self) -> bool:
        """Whether it has an image's configuration; all else is an artifact: files without a root file system."""
        return self.config.media_type in (OCI_CONFIG, DOCKER_CONFIG)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image says about the containers made of it."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    architecture: str = ""
    variant: str = ""
    os: str = ""
    diff_ids: tuple[str, ...] = ()
    """Digests of the uncompressed layers, the lowest first."""


def parse(body: bytes, media_type: str = "") -> Index | Manifest:
    """Reads a manifest or an index. `media_type` is what the header or the descriptor says of it.

    Raises InvalidArgument if it is neither, or both by its media types and fields; FailedPrecondition for Docker's
    schema 1.
    """
    document = _document(body)
    claims = {_text(document, "mediaType"), media_type.partition(";")[0].strip()}
    if any(claim.startswith(_DOCKER_SCHEMA_1) for claim in claims) or document.get("schemaVersion") == 1:
        raise FailedPrecondition(
            "the image has a Docker schema 1 manifest, which no registry makes since 2017: push it again"
        )
    is_index = bool(claims & _INDEXES) or "manifests" in document
    is_manifest = bool(claims & _MANIFESTS) or "layers" in document or "config" in document
    if is_index and is_manifest:
        raise InvalidArgument("the document is an index and a manifest at once")  # CVE-2021-41190
    if is_index:
        return Index(tuple(_descriptor(entry, "manifests") for entry in _list(document, "manifests")))
    layers = tuple(_descriptor(entry, "layers") for entry in _list(document, "layers"))
    if len(layers) > _MOST_LAYERS:
        raise InvalidArgument(f"the image has {len(layers)} layers, overlayfs stacks {_MOST_LAYERS}")
    return Manifest(_descriptor(document.get("config"), "config"), layers, _text(document, "artifactType"))


def choose(index: Index, machine: Platform) -> Descriptor:
    """The manifest of an index that suits `machine` best; of several that do, and of those that say no platform, the
    first. Raises FailedPrecondition, naming what is there.
    """
    offers = [(entry.platform.normal(), entry) for entry in index.manifests if entry.platform]
    for wanted in accepted(machine):
        for platform, entry in offers:
            if platform == wanted:
                return entry
    for entry in index.manifests:
        if entry.platform is None:
            return entry
    # BuildKit's attestations are for unknown/unknown.
    there = ", ".join(sorted({str(platform) for platform, _ in offers if platform.os != "unknown"}))
    raise FailedPrecondition(f"the image has nothing for {machine}, only {there or 'nothing'}")


def check_platform(config: ImageConfig, machine: Platform) -> None:
    """Raises FailedPrecondition if an image says that it is for another machine."""
    if not config.architecture:
        return
    platform = Platform(config.os, config.architecture, config.variant).normal()
    if platform not in accepted(machine):
        raise FailedPrecondition(f"the image is for {platform}, this machine is {machine}")


def parse_config(body: bytes) -> ImageConfig:
    """Reads an image's configuration. Raises InvalidArgument."""
    document = _document(body)
    config = _mapping(document, "config")
    diff_ids = _texts(_mapping(document, "rootfs"), "diff_ids")
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise InvalidArgument(f"rootfs.diff_ids of the image's configuration: {diff_id!r} is no digest")
    return ImageConfig(
        entrypoint=_texts(config, "Entrypoint"),
        cmd=_texts(config, "Cmd"),
        env=_texts(config, "Env"),
        user=_text(config, "User"),
        working_dir=_text(config, "WorkingDir"),
        stop_signal=_text(config, "StopSignal"),
        volumes=tuple(sorted(_mapping(config, "Volumes"))),
        labels=_text_mapping(config, "Labels"),
        architecture=_text(document, "architecture"),
        variant=_text(document, "variant"),
        os=_text(document, "os"),
        diff_ids=diff_ids,
    )


def _document(body: bytes) -> Mapping[str, Json]:
    if len(body) > LARGEST_DOCUMENT:
        raise InvalidArgument(f"the document has {len(body)} bytes, more than {LARGEST_DOCUMENT}")
    try:
        document = json.loads(body)
        json.dumps(document, ensure_ascii=False).encode()  # half of a surrogate pair could not be sent on to anybody
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the document is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidArgument("the document is no JSON object")
    return document


def _descriptor(value: Json, where: str) -> Descriptor:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{where} of the manifest is no descriptor")
    digest, size = _text(value, "digest"), value.get("size")
    if not is_digest(digest):
        raise InvalidArgument(f"{where} of the manifest: {digest!r} is no digest")
    if type(size) is not int or not 0 <= size <= _LARGEST_SIZE:
        raise InvalidArgument(f"{where} of the manifest: the size {size!r} is no number of bytes")
    place = _mapping(value, "platform")
    platform = Platform(_text(place, "os"), _text(place, "architecture"), _text(place, "variant")) if place else None
    return Descriptor(_text(value, "mediaType"), digest, size, platform, _text_mapping(value, "annotations"))


def _wrong(key: str, expected: str) -> InvalidArgument:
    return InvalidArgument(f"{key!r} of the document is no {expected}")


def _text(document: Mapping[str, Json], key: str) -> str:
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(key, "string")
    return value


def _list(document: Mapping[str, Json], key: str) -> list[Json]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(key, "list")
    return value


def _texts(document: Mapping[str, Json], key: str) -> tuple[str, ...]:
    return _all_text(_list(document, key), key)


def _all_text(values: Collection[Json], key: str) -> tuple[str, ...]:
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values):
        raise _wrong(key, "collection of strings")
    return texts


def _mapping(document: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(key, "object")
    return value


def _text_mapping(document: Mapping[str, Json], key: str) -> Mapping[str, str]:
    value = _mapping(document, key)
    return dict(zip(value, _all_text(value.values(), key), strict=True))
