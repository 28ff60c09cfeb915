"""Values of images: what is configured, what is stored, what is going on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from podwright.errors import InvalidArgument
from podwright.wire.manifest import ImageConfig

__all__ = ["Credentials", "Image", "ImageConfig", "ImageSettings", "LayerProgress", "PullProgress"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for one registry: the fields of the CRI's AuthConfig."""

    username: str = ""
    password: str = field(default="", repr=False)
    auth: str = field(default="", repr=False)
    """username:password in base64."""
    server_address: str = ""
    """The registry that they are meant for, as a host or a URL."""
    identity_token: str = field(default="", repr=False)
    """A refresh token for the registry's token service."""
    registry_token: str = field(default="", repr=False)
    """A bearer token, sent as it is."""


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How images are fetched and kept."""

    root: str
    """Directory of all that is stored; one file system."""
    registry_directories: tuple[str, ...] = ("/etc/podwright/certs.d", "/etc/containerd/certs.d", "/etc/docker/certs.d")
    """Searched in this order for <registry>/hosts.toml; the first directory that has <registry> is taken."""
    credentials: Mapping[str, Credentials] = field(default_factory=dict)
    """By host, as in "quay.io" or "localhost:5000"."""
    credential_files: tuple[str, ...] = ("/etc/podwright/auth.json", "/root/.docker/config.json")
    """In the form of Docker's config.json; files that do not exist are skipped."""
    plain_http: tuple[str, ...] = ()
    """Registries without hosts.toml that are spoken to without TLS; those on the loopback interface are anyway."""
    unverified: tuple[str, ...] = ()
    """Registries without hosts.toml whose certificates are not checked."""
    pinned: tuple[str, ...] = ()
    """Names of images that are never garbage, with the wildcards of fnmatch."""
    connections: int = 8
    """Open to all registries at a time."""
    connections_per_layer: int = 4
    piece: int = 16 << 20
    """Bytes of one request, where a layer is fetched by several."""
    unpackers: int = field(default_factory=lambda: max(2, os.cpu_count() or 1))
    """Workers at a time."""
    largest_layer: int = 1 << 40
    """Bytes of a layer's files."""
    most_entries: int = 20_000_000
    """Files of a layer."""
    connect_seconds: float = 10
    answer_seconds: float = 30
    """Until the first byte of an answer."""
    stall_seconds: float = 10
    stall_rate: int = 1024
    """Bytes a second: a connection that is slower for `stall_seconds` is given up and resumed."""
    attempts: int = 5
    """Rounds through all hosts of a registry without a byte gained."""
    first_pause: float = 0.25
    """Seconds after the first round; doubled after each further one."""
    longest_pause: float = 8
    resumable_seconds: float = 24 * 3600
    """How long pieces of unfinished pulls are kept."""
    verifiers: str = ""
    """A directory of programs that say whether an image may be used (verify.py); empty for none."""
    verifier_seconds: float = 10


@dataclass(frozen=True, slots=True)
class Image:
    """An image that can be run, or an artifact that can be mounted."""

    id: str
    """sha256:<digest of the configuration>."""
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int
    """Bytes on disk of its layers; a layer of several images counts for each."""
    config: ImageConfig
    layers: tuple[str, ...]
    """Lower directories for overlayfs, relative to the directory of layers, the topmost first."""
    pinned: bool
    created_ns: int
    """When it came to this node."""
    artifact: bool = False
    """Files without a root file system: for image volumes only."""
    raw_config: bytes = field(default=b"", repr=False)
    """The configuration as the registry has it, JSON."""


@dataclass(frozen=True, slots=True)
class LayerProgress:
    """How far a layer is."""

    digest: str
    state: str
    """waiting, downloading, unpacking or done; unpacking begins while the download goes on."""
    bytes_done: int
    """Downloaded, the bytes of an earlier try included."""
    bytes_unpacked: int
    """Of the compressed ones."""
    bytes_total: int


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull is."""

    reference: str
    started_ns: int
    stage: str
    """resolving, fetching or recording."""
    layers: tuple[LayerProgress, ...]


def check(settings: ImageSettings) -> None:
    """Raises InvalidArgument if the settings make no sense."""
    for name in (
        *("connections", "connections_per_layer", "piece", "unpackers"),
        "largest_layer",
        "most_entries",
        "attempts",
    ):
        if getattr(settings, name) < 1:
            raise InvalidArgument(f"{name} must be at least 1")
    if not os.path.isabs(settings.root):
        raise InvalidArgument(f"root must be an absolute path, not {settings.root!r}")
