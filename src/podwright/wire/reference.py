"""Names of images, as people write them and as registries know them.

    busybox                               docker.io/library/busybox:latest
    quay.io/app/web:1.2                   as it is
    quay.io/app/web@sha256:<64 digits>    as it is
    quay.io/app/web:1.2@sha256:<…>        both: the digest decides what is fetched

The grammar is the one of the OCI distribution specification, with Docker's short names. Ids of images (digests of their
configuration, whole or truncated) are not references; `id_digits` recognises them.
"""

import re
from dataclasses import dataclass

from podwright.errors import InvalidArgument

DEFAULT_REGISTRY = "docker.io"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_ALPHANUMERIC = "[a-z0-9]+"
_COMPONENT = f"{_ALPHANUMERIC}(?:(?:\\.|__?|-+){_ALPHANUMERIC})*"
_REPOSITORY = re.compile(f"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(f"(?:{_LABEL}(?:\\.{_LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?", re.ASCII)
_TAG = re.compile("[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", re.ASCII)
_DIGEST = re.compile("sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}", re.ASCII)
_ID = re.compile("[a-f0-9]{1,64}", re.ASCII)
_LONGEST_REPOSITORY = 255  # as distribution/reference, hence docker and containerd, have it


@dataclass(frozen=True, slots=True)
class Reference:
    """A complete name: at least one of tag and digest is set."""

    registry: str
    """Host, with a port where it has one: docker.io, localhost:5000."""
    repository: str
    tag: str
    digest: str

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def version(self) -> str:
        """What to ask the registry for: the digest if there is one, else the tag."""
        return self.digest or self.tag

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def tagged(self) -> str:
        """Name and tag, as in repo_tags; empty if a digest decides."""
        return "" if self.digest else f"{self.name}:{self.tag}"

    def digested(self, digest: str) -> str:
        """Name and digest, as in repo_digests."""
        return f"{self.name}@{digest}"


def parse(text: str) -> Reference:
    """Reads a reference and completes it. Raises InvalidArgument."""
    if is_id(text):
        raise InvalidArgument(f"image reference {text!r} is an image id, not a name")
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise InvalidArgument(f"image reference {text!r}: {digest!r} is no sha256 or sha512 digest")
    name, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
        raise InvalidArgument(f"image reference {text!r}: {tag!r} is no tag")
    registry, repository = _split_registry(name)
    if not _REGISTRY.fullmatch(registry):
        raise InvalidArgument(f"image reference {text!r}: {registry!r} is no host name")
    if not _REPOSITORY.fullmatch(repository):
        why = "must be lower case" if _REPOSITORY.fullmatch(repository.lower()) else "is no repository name"
        raise InvalidArgument(f"image reference {text!r}: {repository!r} {why}")
    if len(repository) > _LONGEST_REPOSITORY:
        raise InvalidArgument(
            f"image reference {text!r}: the repository's name is longer than {_LONGEST_REPOSITORY} characters"
        )
    return Reference(registry, repository, tag or ("" if digest else DEFAULT_TAG), digest)


def _split_tag(name: str) -> tuple[str, str | None]:
    """The part after a colon is a tag only if no slash follows: localhost:5000/web has a port."""
    head, colon, tail = name.rpartition(":")
    return (head, tail) if colon and "/" not in tail else (name, None)


def _split_registry(name: str) -> tuple[str, str]:
    """The first component is a host if it looks like one (Docker's rule), else the name is one of Docker Hub's."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        registry, repository = first, rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry == f"index.{DEFAULT_REGISTRY}":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"{DEFAULT_NAMESPACE}/{repository}"
    return registry, repository


def is_digest(text: str) -> bool:
    """Whether it is a digest of an algorithm that Podwright can verify."""
    return _DIGEST.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether it is a whole image id, with or without its sha256: before."""
    return len(id_digits(text)) == 64


def id_digits(text: str) -> str:
    """The digits of a whole or truncated image id; empty if it cannot be one."""
    digits = text.removeprefix("sha256:")
    return digits if _ID.fullmatch(digits) else ""
