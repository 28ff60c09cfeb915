"""Manifests, indexes and image configurations: OCI image specification 1.1 and Docker's schema 2, which differ only in
media types.

What comes in is anybody's JSON: every field that is used is checked, and what is missing becomes empty.
"""

import json
from collections.abc import Iterable, Mapping
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
_DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"

ACCEPT = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
"""For the header of requests for manifests."""

LARGEST_DOCUMENT = 4 << 20
"""Bytes of a manifest or configuration; the distribution specification lets registries refuse more."""
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
    exposed_ports: tuple[str, ...] = ()
    architecture: str = ""
    variant: str = ""
    os: str = ""
    created: str = ""
    """As the image has it, RFC 3339."""
    diff_ids: tuple[str, ...] = ()
    """Digests of the uncompressed layers, the lowest first."""


def parse(body: bytes, media_type: str = "") -> Index | Manifest:
    """Reads a manifest or an index. `media_type` is the header's, for documents that do not name their own.

    Raises InvalidArgument if it is neither, FailedPrecondition for Docker's schema 1.
    """
    document = _document(body)
    kind = _text(document, "mediaType") or media_type.partition(";")[0].strip()
    if kind.startswith(_DOCKER_SCHEMA_1) or document.get("schemaVersion") == 1:
        raise FailedPrecondition(
            "the image has a Docker schema 1 manifest, which no registry makes since 2017: push it again"
        )
    if "manifests" in document:
        if "layers" in document or "config" in document:
            raise InvalidArgument("the manifest is an index and an image at once")  # CVE-2021-41190
        return Index(tuple(_descriptor(entry, "manifests") for entry in _list(document, "manifests")))
    if kind in (OCI_INDEX, DOCKER_LIST):
        raise InvalidArgument("the index has no manifests")
    layers = tuple(_descriptor(entry, "layers") for entry in _list(document, "layers"))
    if len(layers) > _MOST_LAYERS:
        raise InvalidArgument(f"the image has {len(layers)} layers, overlayfs stacks {_MOST_LAYERS}")
    return Manifest(_descriptor(document.get("config"), "config"), layers, _text(document, "artifactType"))


def choose(index: Index, machine: Platform) -> Descriptor:
    """The manifest of an index that suits `machine` best. Raises NotFound's kin: FailedPrecondition, naming what is
    there.
    """
    offers = [(entry, entry.platform.normal() if entry.platform else None) for entry in index.manifests]
    for wanted in accepted(machine):
        for entry, platform in offers:
            if platform is not None and platform == wanted:
                return entry
    for entry, platform in offers:
        if platform is None:
            return entry
    there = ", ".join(sorted({str(platform) for _, platform in offers if platform and platform.os != "unknown"}))
    raise FailedPrecondition(f"the image has nothing for {machine}, only {there or 'nothing'}")


def check_platform(config: ImageConfig, machine: Platform) -> None:
    """Raises FailedPrecondition if an image says that it is for another machine."""
    if not config.architecture:
        return
    platform = Platform(config.os or "linux", config.architecture, config.variant).normal()
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
        volumes=tuple(sorted(_keys(config, "Volumes"))),
        labels=_text_mapping(config, "Labels"),
        exposed_ports=tuple(sorted(_keys(config, "ExposedPorts"))),
        architecture=_text(document, "architecture"),
        variant=_text(document, "variant"),
        os=_text(document, "os"),
        created=_text(document, "created"),
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
    if type(size) is not int or size < 0:
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
    return tuple(_all_text(_list(document, key), key))


def _all_text(values: Iterable[Json], key: str) -> list[str]:
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(list(values)):
        raise _wrong(key, "list of strings")
    return texts


def _mapping(document: Mapping[str, Json], key: str) -> Mapping[str, Json]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(key, "object")
    return value


def _keys(document: Mapping[str, Json], key: str) -> Iterable[str]:
    return _mapping(document, key).keys()


def _text_mapping(document: Mapping[str, Json], key: str) -> Mapping[str, str]:
    value = _mapping(document, key)
    return dict(zip(value, _all_text(list(value.values()), key), strict=True))
