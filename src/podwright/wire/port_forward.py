"""Port-forward as Kubernetes speaks it: which streams belong to which connection.

Over SPDY (`portforward.k8s.io`) the client opens two streams for each connection, one for errors and one for data,
with the port and a request id in their headers. The same SPDY session may run inside a WebSocket (KEP-4006). Over
plain WebSocket (`v4.channel.k8s.io`) the ports are fixed when the URL is asked for: channels 2n and 2n+1 are data and
errors of the nth, and each begins with the port's number in two bytes.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
"""A WebSocket whose binary messages are the bytes of a SPDY connection."""

WEBSOCKET_BASE64: Mapping[str, bool] = {"v4.channel.k8s.io": False, "v4.base64.channel.k8s.io": True, "": False}
"""Sub-protocols over plain WebSocket, and whether they are text."""

MOST_WAITING = 1000
"""Streams whose other stream has not come yet."""

STREAM_TYPE, PORT, REQUEST_ID = "streamtype", "port", "requestid"


class BadStream(ValueError):
    """A stream that belongs to no connection."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The streams of one connection."""

    port: int
    data: int
    error: int


class Pairs:
    """Finds the streams that belong together."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[str, int, int]] = {}

    def add(self, stream: int, headers: Mapping[str, str]) -> Pair | None:
        """The pair that this stream completes, or None. Raises BadStream."""
        kind, port = headers.get(STREAM_TYPE, ""), _port(headers.get(PORT, ""))
        if kind not in ("data", "error"):
            raise BadStream(f"{kind!r} is no type of a stream: data or error is expected")
        request = headers.get(REQUEST_ID) or _implied_request(stream, kind)
        if request not in self._waiting:
            if len(self._waiting) >= MOST_WAITING:
                raise BadStream(f"{MOST_WAITING} streams wait for their other streams")
            self._waiting[request] = (kind, stream, port)
            return None
        other_kind, other, other_port = self._waiting[request]
        if other_kind == kind:
            raise BadStream(f"request {request} has two streams for {kind}")
        del self._waiting[request]
        if kind == "data":
            return Pair(port, stream, other)
        return Pair(other_port, other, stream)

    def drop(self, stream: int) -> bool:
        """Forgets a stream; whether it was still alone."""
        for request, (_, waiting, _) in self._waiting.items():
            if waiting == stream:
                del self._waiting[request]
                return True
        return False


def _port(text: str) -> int:
    if len(text) > 5 or not text.isascii() or not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise BadStream(f"{text[:20]!r} is no port")
    return int(text)


def _implied_request(stream: int, kind: str) -> str:
    """Old clients open the error stream and at once the data stream, without an id."""
    return str(stream if kind == "error" else stream - 2)


def port_to_bytes(port: int) -> bytes:
    """What a channel begins with over plain WebSocket."""
    return struct.pack("<H", port)
