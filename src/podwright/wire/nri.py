"""NRI's multiplexer: two ttrpc connections on one socket (github.com/containerd/nri, pkg/net/multiplex).

On connection 1 the plugin serves and the runtime calls, on connection 2 it is the other way round. A frame is the
number of the connection, a length, and so many bytes of it; there is nothing else, neither opening nor closing.
"""

import struct
from collections.abc import Iterator

from podwright.wire import ttrpc

PLUGIN, RUNTIME = 1, 2
"""The numbers of the connections: by who serves on them."""

_HEADER = struct.Struct(">II")
_FIRST = 4096
"""Bytes of the first frame of a message. Plugins in Go read by buffers of this size, and fail if a frame is larger than
the room that they have for it: what is left of a message's first 4096 bytes, then for all the rest.
"""
_LARGEST = ttrpc.HEADER_BYTES + ttrpc.LARGEST


class MultiplexError(ValueError):
    """What the peer sends makes no sense. The connection is of no more use."""


def encode(connection: int, message: bytes) -> bytes:
    """The frames of one whole ttrpc message."""
    parts = [part for part in (message[:_FIRST], message[_FIRST:]) if part]
    return b"".join(_HEADER.pack(connection, len(part)) + part for part in parts)


class Reader:
    """Cuts what comes on the socket into pieces of connections."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Numbers of connections, and bytes that have come on them: the frames that are complete now. Frames of
        connections that there are not are dropped. Raises MultiplexError.
        """
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            connection, length = _HEADER.unpack_from(self._buffer)
            if length > _LARGEST:
                raise MultiplexError(f"the peer sends a frame of {length} bytes, more than {_LARGEST}")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            part = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            if connection in (PLUGIN, RUNTIME):
                yield connection, part
