"""Credentials for registries out of imagePullSecrets. Pure."""

import base64
import binascii
import fnmatch
import json
from collections.abc import Iterable, Mapping
from typing import Any

from podwright.cri import v1
from podwright.wire.reference import parse

_DOCKER_HUB = {"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}


def credentials(image: str, secrets: Iterable[Mapping[str, bytes]]) -> list[v1.AuthConfig]:
    """Those that are meant for an image, the one with the longest address first.

    Secrets that cannot be read hold none: the registry then says what is missing.
    """
    reference = parse(image)
    name = f"{reference.registry}/{reference.repository}"
    found: list[tuple[int, v1.AuthConfig]] = []
    for secret in secrets:
        for address, entry in _entries(secret):
            host, _, path = _bare(address).partition("/")
            registry, _, repository = name.partition("/")
            if fnmatch.fnmatchcase(registry, host) and f"{repository}/".startswith(f"{path}/" if path else ""):
                found.append((len(address), _auth(entry)))
    return [auth for _, auth in sorted(found, key=lambda item: -item[0])]


def _entries(secret: Mapping[str, bytes]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        if ".dockerconfigjson" in secret:
            entries = json.loads(secret[".dockerconfigjson"])["auths"]
        else:
            entries = json.loads(secret.get(".dockercfg", b"{}"))
    except (ValueError, KeyError, TypeError):
        return []
    return [(address, entry) for address, entry in entries.items() if isinstance(entry, dict)]


def _bare(address: str) -> str:
    """The address without scheme and API version; Docker Hub by its one name."""
    bare = address.removeprefix("https://").removeprefix("http://").rstrip("/")
    bare = bare.removesuffix("/v1").removesuffix("/v2")
    host, slash, path = bare.partition("/")
    return ("docker.io" if host in _DOCKER_HUB else host) + slash + path


def _auth(entry: Mapping[str, Any]) -> v1.AuthConfig:
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    if not username and entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            username = ""
    return v1.AuthConfig(
        username=username,
        password=password.rstrip("\0"),
        identity_token=str(entry.get("identitytoken", "")),
        registry_token=str(entry.get("registrytoken", "")),
    )
