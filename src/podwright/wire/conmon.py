"""conmon's attach socket: packets (SOCK_SEQPACKET) of output with the stream's number in front, packets of input as
they are.
"""

from typing import Literal

LARGEST_OUTPUT = (8 << 10) + 1
"""STDIO_BUF_SIZE and the stream's number; larger packets would be cut."""
LARGEST_INPUT = 32 << 10
"""CONN_SOCK_BUF_SIZE. What is longer conmon drops."""

_STREAMS: dict[int, Literal["stdout", "stderr"]] = {2: "stdout", 3: "stderr"}


def split_output(packet: bytes) -> tuple[Literal["stdout", "stderr"], bytes]:
    """Where a packet was written to, and what. Raises ValueError for a stream that conmon does not have."""
    stream = _STREAMS.get(packet[0]) if packet else None
    if stream is None:
        raise ValueError(f"conmon sent a packet that begins with {packet[:1]!r}")
    return stream, packet[1:]
