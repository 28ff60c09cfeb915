"""Where a CRI runtime listens: reading what people write, and finding a runtime when they write nothing.

Owns no connection: `find` only looks whether somebody listens.
"""

import os
import socket
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from podwright.errors import InvalidArgument, Unavailable

DEFAULTS = (
    "unix:///run/podwright/podwright.sock",
    "unix:///run/containerd/containerd.sock",
    "unix:///run/crio/crio.sock",
    "unix:///var/run/cri-dockerd.sock",
)
"""Tried in this order when no endpoint is named: ours, then those that crictl tries."""

_LONGEST_SOCKET_PATH = 107  # sizeof(sockaddr_un.sun_path) - 1, see unix(7)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place to connect to. `str()` gives the URL."""

    scheme: Literal["unix", "tcp"]
    address: str
    """An absolute path, or host:port."""

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Reads unix:///path, an absolute path, or tcp://host:port (meant for tests). Raises InvalidArgument."""
        if text.startswith("/"):
            return cls("unix", _socket_path(text, text))
        url = urllib.parse.urlsplit(text)
        if url.scheme == "unix" and not url.netloc:
            return cls("unix", _socket_path(url.path, text))
        if url.scheme == "tcp" and url.netloc and not url.path:
            return cls("tcp", _host_and_port(url, text))
        raise InvalidArgument(f"endpoint {text!r} is none of unix:///path/of.sock, /path/of.sock and tcp://host:port")

    @property
    def target(self) -> str:
        """The endpoint as gRPC writes it."""
        return f"unix:{self.address}" if self.scheme == "unix" else f"dns:///{self.address}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}"


def _socket_path(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"endpoint {text!r} needs an absolute path, as in unix:///run/podwright/podwright.sock")
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise InvalidArgument(f"endpoint {text!r} is longer than the {_LONGEST_SOCKET_PATH} bytes of a socket's path")
    return path


def _host_and_port(url: urllib.parse.SplitResult, text: str) -> str:
    try:
        port = url.port
    except ValueError as error:
        raise InvalidArgument(f"endpoint {text!r}: {str(error)[:1].lower()}{str(error)[1:]}") from None
    if not url.hostname or not port:
        raise InvalidArgument(f"endpoint {text!r} needs a host and a port, as in tcp://127.0.0.1:9000")
    return url.netloc


def find(candidates: Iterable[str] = DEFAULTS) -> Endpoint:
    """The first of the usual sockets on which somebody listens. Raises Unavailable naming them all."""
    tried = []
    for text in candidates:
        endpoint = Endpoint.parse(text)
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(endpoint.address)
            except OSError as error:
                tried.append(f"{endpoint} ({(error.strerror or str(error)).lower()})")
            else:
                return endpoint
    raise Unavailable(f"no CRI runtime found; tried {', '.join(tried)}: start one, or name its endpoint")
