"""ttrpc, a small RPC for unix sockets (github.com/containerd/ttrpc, PROTOCOL.md): frames and what they are for.

Unary calls only, as NRI has them: a request opens a stream, the response ends it. Numbers of streams are odd, since the
client opens them, and grow. The messages in the frames are protobuf's, which is not this module's business.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

REQUEST, RESPONSE = 1, 2
LARGEST = 4 << 20
"""Bytes of a message; peers refuse more."""

_HEADER = struct.Struct(">IIBB")
"""Length of the message, number of the stream, type, flags."""
HEADER_BYTES = _HEADER.size


class TtrpcError(ValueError):
    """What the peer sends makes no sense, or a message is too large to be sent. The connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A request or a response."""

    stream: int
    kind: int
    """REQUEST or RESPONSE."""
    message: bytes


def encode(frame: Frame) -> bytes:
    """The bytes of a frame. Raises TtrpcError for a message that is too large."""
    if len(frame.message) > LARGEST:
        raise TtrpcError(f"a message of {len(frame.message)} bytes is larger than {LARGEST}")
    return _HEADER.pack(len(frame.message), frame.stream, frame.kind, 0) + frame.message


class Reader:
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with these bytes. Raises TtrpcError."""
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            length, stream, kind, flags = _HEADER.unpack_from(self._buffer)
            if length > LARGEST:
                raise TtrpcError(f"the peer sends a message of {length} bytes, more than {LARGEST}")
            if kind not in (REQUEST, RESPONSE) or flags:
                raise TtrpcError(
                    f"the peer sends a frame of type {kind} with flags {flags:#x}, which no unary call has"
                )
            end = HEADER_BYTES + length
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[HEADER_BYTES:end])
            del self._buffer[:end]
            yield Frame(stream, kind, message)
