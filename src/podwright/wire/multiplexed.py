"""What can happen on a connection that carries several streams, whatever its frames look like.

wire/spdy.py tells of it, and so do the WebSocket engines of multiplex/. A stream has a number, two directions that end
one by one, and may be reset, which ends both at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opened:
    """The peer has opened a stream: accept or reset it."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The peer has accepted a stream of ours."""

    stream: int


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes have come. How they were cut into frames means nothing."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The peer will send no more on this stream."""

    stream: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Neither side will send any more on this stream, and what is under way is lost."""

    stream: int
    reason: str


@dataclass(frozen=True, slots=True)
class Widened:
    """The peer takes more data, on one stream or on all (0)."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The peer says goodbye, or what it sent makes no sense. Nothing is read from here on."""

    reason: str
    failed: bool


Event = Opened | Accepted | Data | Finished | Reset | Widened | Ended
