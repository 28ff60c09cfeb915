"""Exec, Attach and PortForward that were asked for by RPC and wait for their client to come over HTTP.

The client shows a token that is good once and for a minute. Owns the tokens, and the meaning of the URLs' paths.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from podwright.errors import ResourceExhausted, Unavailable
from podwright.oci.execution import Wanted
from podwright.state.records import Container, Sandbox

GOOD_FOR_SECONDS = 60.0
MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command in a container."""

    path: ClassVar[str] = "exec"
    container: Container
    command: tuple[str, ...]
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """The streams of a container's own process."""

    path: ClassVar[str] = "attach"
    container: Container
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class PortForwardRequest:
    """Connections to ports of a sandbox."""

    path: ClassVar[str] = "portforward"
    sandbox: Sandbox
    ports: tuple[int, ...]
    """For clients over plain WebSocket, which cannot say them; others name the port of each connection."""


StreamRequest = ExecRequest | AttachRequest | PortForwardRequest


class StreamRequests:
    """Those that wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self.base_url = ""
        """Where the streaming server listens; it says so itself."""
        self._clock = clock
        self._waiting: dict[str, tuple[float, StreamRequest]] = {}

    def url(self, request: StreamRequest) -> str:
        """Where the client finds what it has asked for. Raises ResourceExhausted if too many wait."""
        if not self.base_url:
            raise Unavailable("the streaming server does not run")
        self._drop_expired()
        if len(self._waiting) >= MOST_WAITING:
            raise ResourceExhausted(
                f"{MOST_WAITING} requests to stream wait for their clients: try again in {GOOD_FOR_SECONDS:.0f} seconds"
            )
        token = secrets.token_urlsafe(16)
        self._waiting[token] = (self._clock() + GOOD_FOR_SECONDS, request)
        return f"{self.base_url}/{request.path}/{token}"

    def take(self, path: str) -> StreamRequest | None:
        """The request that belongs to the path of a URL, once; None if there is none, or none any more."""
        self._drop_expired()
        kind, _, token = path.strip("/").partition("/")
        _, request = self._waiting.get(token, (0.0, None))
        if request is None or request.path != kind:
            return None
        del self._waiting[token]
        return request

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._waiting:
            token, (expires, _) = next(iter(self._waiting.items()))  # the oldest
            if expires > now:
                return
            del self._waiting[token]
