"""Where the content of a registry may be had: its mirrors and the registry itself, after certs.d/<registry>/hosts.toml.

The files have the layout and the meaning that containerd gave them; they are read again for each pull. Without
hosts.toml, *.crt, *.cert and *.key beside it are taken as Docker takes them.
"""

import logging
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from podwright.errors import FailedPrecondition
from podwright.images.model import ImageSettings

logger = logging.getLogger(__name__)

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_HUB_NAMES = frozenset({_DOCKER_HUB, _DOCKER_HUB_HOST, "index.docker.io"})
_KEYS = frozenset(
    {"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout", "server", "host"}
)
_PORT_IN_NAME = re.compile(r"_([0-9]+)_$")
"""A directory's name as containerd has it on systems that forbid colons."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Table = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host that may have the content of a registry."""

    url: str
    """Of the distribution API, such as https://registry-1.docker.io/v2; no slash at the end."""
    pull: bool = True
    resolve: bool = True
    """Whether it may say what a tag means."""
    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str], ...] = ()
    """Files of certificates and their keys, to authenticate with; the second may be empty."""
    verify: bool = True
    headers: tuple[tuple[str, str], ...] = ()
    dial_seconds: float | None = None

    @property
    def host(self) -> str:
        """With the port, if there is one."""
        return urlsplit(self.url).netloc


def canonical(server: str) -> str:
    """The registry that a host or URL stands for: what credentials are kept under."""
    _, _, rest = server.rpartition("://")
    host = rest.partition("/")[0].lower()
    return _DOCKER_HUB if host in _HUB_NAMES else host


def endpoints(registry: str, settings: ImageSettings) -> list[Endpoint]:
    """Where to look for the content of `registry`, in this order. Blocking.

    Raises FailedPrecondition for a bad file.
    """
    directory = _directory(registry, settings.registry_directories)
    if directory is None:
        return [_default(registry, settings)]
    path = os.path.join(directory, "hosts.toml")
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
        return parse(table, registry, directory, settings)
    except FileNotFoundError:
        return [_with_certificates(registry, directory, settings)]
    except (OSError, ValueError, tomllib.TOMLDecodeError) as error:
        raise FailedPrecondition(f"cannot use {path!r}: {error}") from error


def configured(settings: ImageSettings) -> list[str]:
    """The registries that have a directory of their own, and `_default`. Blocking."""
    found: set[str] = set()
    for root in settings.registry_directories:
        try:
            with os.scandir(root) as entries:
                found |= {_PORT_IN_NAME.sub(r":\1", entry.name) for entry in entries if entry.is_dir()}
        except FileNotFoundError:
            continue
    return sorted(found)


def _directory(registry: str, roots: tuple[str, ...]) -> str | None:
    names = [registry, "_default"]
    host, colon, port = registry.rpartition(":")
    if colon and port.isdigit():
        names.insert(0, f"{host}_{port}_")
    for root in roots:
        for name in names:
            if os.path.isdir(os.path.join(root, name)):
                return os.path.join(root, name)
    return None


def is_loopback(host: str) -> bool:
    """Whether a host, with or without port, is this machine by its name."""
    name = urlsplit(f"//{host}").hostname or ""
    return name == "localhost" or name.startswith("127.") or name == "::1"


def _default(registry: str, settings: ImageSettings, *, secure: bool = False) -> Endpoint:
    """The registry itself. `secure` for one that has certificates; on the loopback others speak plain HTTP."""
    loopback = is_loopback(registry) and not registry.endswith(":443")
    plain = registry in settings.plain_http or (loopback and not secure)
    host = _DOCKER_HUB_HOST if registry == _DOCKER_HUB else registry
    return Endpoint(f"{'http' if plain else 'https'}://{host}/v2", verify=registry not in settings.unverified)


def _with_certificates(registry: str, directory: str, settings: ImageSettings) -> Endpoint:
    files = sorted(os.listdir(directory))
    roots = [name for name in files if name.endswith(".crt")]
    stems = [name.removesuffix(".cert") for name in files if name.endswith(".cert")]
    return replace(
        _default(registry, settings, secure=bool(roots or stems)),
        ca=tuple(os.path.join(directory, name) for name in roots),
        client=tuple((os.path.join(directory, f"{s}.cert"), os.path.join(directory, f"{s}.key")) for s in stems),
    )


def parse(table: Table, registry: str, directory: str, settings: ImageSettings) -> list[Endpoint]:
    """The content of a hosts.toml: the hosts in their order, then the server. Raises ValueError."""
    hosts = table.get("host", {})
    if not isinstance(hosts, dict):
        raise ValueError("host is no table")
    found = []
    for url, options in hosts.items():
        if not isinstance(options, dict):
            raise ValueError(f"host.{url!r} is no table")
        found.append(_endpoint(url, options, directory))
    server = table.get("server")
    if server is None:
        origin = _endpoint(_default(registry, settings).url.removesuffix("/v2"), table, directory)
    elif isinstance(server, str):
        origin = _endpoint(server, table, directory)
    else:
        raise ValueError("server is no string")
    return found if any(one.url == origin.url for one in found) else [*found, origin]


def _endpoint(url: str, options: Table, directory: str) -> Endpoint:
    if unknown := set(options) - _KEYS:  # of a newer containerd, it may be
        logger.warning("%s: %r of %r is no known key: ignored", directory, min(unknown), url)
    capabilities = options.get("capabilities", ["pull", "resolve"])
    if not isinstance(capabilities, list) or not set(capabilities) <= {"pull", "resolve", "push"}:
        raise ValueError(f"capabilities of {url!r} must be a list of pull, resolve, push")
    return Endpoint(
        _api(url, override=_flag(options, "override_path")),
        pull="pull" in capabilities,
        resolve="resolve" in capabilities,
        ca=tuple(_path(directory, name) for name in _strings(options, "ca")),
        client=_client(options.get("client"), directory),
        verify=not _flag(options, "skip_verify"),
        headers=_headers(options.get("header", {})),
        dial_seconds=_duration(options.get("dial_timeout")),
    )


def _api(url: str, *, override: bool) -> str:
    if "://" not in url:
        url = f"{'http' if is_loopback(url.partition('/')[0]) else 'https'}://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.username:
        raise ValueError(f"{url!r} is no URL of a registry")
    host = _DOCKER_HUB_HOST if parts.netloc == _DOCKER_HUB else parts.netloc
    path = parts.path.rstrip("/")
    if not override and not path.endswith("/v2"):
        path += "/v2"
    return f"{parts.scheme}://{host}{path}"


def _flag(options: Table, key: str) -> bool:
    value = options.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false")
    return value


def _strings(options: Table, key: str) -> list[str]:
    value = options.get(key, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise ValueError(f"{key} must be a string or a list of strings")
    return values


def _path(directory: str, name: str) -> str:
    return os.path.normpath(os.path.join(directory, name))


def _client(value: object, directory: str) -> tuple[tuple[str, str], ...]:
    """A file, a list of files, or a list of pairs of certificate and key."""
    values = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(values, list):
        raise ValueError("client must be a string or a list")
    found = []
    for one in values:
        pair = [one, ""] if isinstance(one, str) else one
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
            raise ValueError("client must hold files, or pairs of a certificate and a key")
        found.append((_path(directory, pair[0]), _path(directory, pair[1]) if pair[1] else ""))
    return tuple(found)


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError("header must be a table")
    return tuple((name, text) for name in value for text in _strings(value, name))


def _duration(value: object) -> float | None:
    """As "500ms", "10s", "1m"."""
    if value is None:
        return None
    text = value if isinstance(value, str) else ""
    number = text.rstrip("mhs")
    try:
        return float(number) * _SECONDS[text[len(number) :]]
    except (KeyError, ValueError):
        raise ValueError(f'dial_timeout must be a duration such as "10s", not {value!r}') from None
