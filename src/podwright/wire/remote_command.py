"""Exec and attach as Kubernetes speaks them: which streams there are, what is said on the error and resize streams.

After k8s.io/kubelet/pkg/cri/streaming/remotecommand and KEP-3396 (version 5). The versions differ in little: up to 3
the error stream is text, from 4 on it is a Status object with the exit code; SPDY has a resize stream from 3 on; over
WebSocket a client can end stdin only in version 5.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

CLOSE = 255
"""Version 5 over WebSocket: a message of this byte and a channel's number ends that channel."""

_LARGEST_SIZE_MESSAGE = 256


class Channel(IntEnum):
    """Numbers of channels over WebSocket. Over SPDY streams have the lower-case name in the header streamType."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


STREAM_TYPE = "streamtype"
"""The header of a SPDY stream that says which channel it is."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """A sub-protocol that can be negotiated."""

    name: str
    version: int
    base64: bool = False
    """Messages are text: the channel as a digit, then base64."""

    @property
    def has_status(self) -> bool:
        """The error stream carries a Status object."""
        return self.version >= 4

    @property
    def can_close(self) -> bool:
        """Over WebSocket: a channel can be ended."""
        return self.version >= 5


SPDY: Mapping[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        *(Protocol(f"v{version}.channel.k8s.io", version) for version in (5, 4, 3, 2)),
        Protocol("channel.k8s.io", 1),
    )
}
"""Best first. Over SPDY 5 is 4 by another name."""

WEBSOCKET: Mapping[str, Protocol] = {
    **SPDY,
    "v1.channel.k8s.io": Protocol("v1.channel.k8s.io", 1),
    "v4.base64.channel.k8s.io": Protocol("v4.base64.channel.k8s.io", 4, base64=True),
    "base64.channel.k8s.io": Protocol("base64.channel.k8s.io", 1, base64=True),
    "": Protocol("", 1),
}
"""A client that names none gets version 1."""


def spdy_channels(wanted: Iterable[Channel], protocol: Protocol, *, tty: bool) -> set[Channel]:
    """The streams that the client will open, given those of stdin, stdout and stderr that were asked for."""
    return {*wanted, Channel.ERROR, *([Channel.RESIZE] if tty and protocol.version >= 3 else [])}


def channel_of(headers: Mapping[str, str]) -> Channel | None:
    """Which channel a SPDY stream is."""
    return _BY_NAME.get(headers.get(STREAM_TYPE, ""))


_BY_NAME = {channel.name.lower(): channel for channel in Channel}


# the error stream


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: with an exit code, or with a message saying why it has none."""

    exit_code: int | None
    message: str = ""


def outcome_to_bytes(outcome: Outcome, protocol: Protocol) -> bytes:
    """What the server says on the error stream at the end."""
    if outcome.exit_code:
        message = f"command terminated with non-zero exit code: {outcome.exit_code}"
    elif outcome.exit_code is None:
        message = f"Internal error occurred: {outcome.message}"
    else:
        message = ""
    if not protocol.has_status:
        return message.encode()
    if not message:
        status: dict[str, object] = {"metadata": {}, "status": "Success"}
    elif outcome.exit_code:
        details = {"causes": [{"reason": "ExitCode", "message": str(outcome.exit_code)}]}
        status = {"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode"}
        status["details"] = details
    else:
        details = {"causes": [{"message": outcome.message}]}
        status = {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError"}
        status |= {"details": details, "code": 500}
    return json.dumps(status, separators=(",", ":")).encode()


def outcome_from_bytes(data: bytes, protocol: Protocol) -> Outcome:
    """Reads the whole of an error stream."""
    if not data:
        return Outcome(0)
    if not protocol.has_status:
        return Outcome(None, data.decode(errors="replace"))
    try:
        status = json.loads(data)
        if status["status"] == "Success":
            return Outcome(0)
        if status.get("reason") == "NonZeroExitCode":
            causes: Sequence[Mapping[str, str]] = status["details"]["causes"]
            return Outcome(next(int(cause["message"]) for cause in causes if cause["reason"] == "ExitCode"))
        return Outcome(None, str(status["message"]))
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return Outcome(None, f"the error stream makes no sense: {data[:200]!r}")


# the resize stream


@dataclass(frozen=True, slots=True)
class Size:
    """Of a terminal, in characters."""

    width: int
    height: int

    def to_bytes(self) -> bytes:
        """As clients send it."""
        return json.dumps({"Width": self.width, "Height": self.height}).encode() + b"\n"

    def to_winsize(self) -> bytes:
        """struct winsize of the kernel (termios.h)."""
        return struct.pack("HHHH", self.height, self.width, 0, 0)


class Sizes:
    """Reads a resize stream: one JSON object after the other."""

    def __init__(self) -> None:
        self._rest = b""

    def receive(self, data: bytes) -> list[Size]:
        """The sizes that are complete now. Raises ValueError for anything else."""
        *objects, self._rest = (self._rest + data).split(b"}")
        if any(len(text) > _LARGEST_SIZE_MESSAGE for text in (*objects, self._rest)):
            raise ValueError(f"a terminal size has more than {_LARGEST_SIZE_MESSAGE} bytes")
        return [_size(text + b"}") for text in objects]


def _size(text: bytes) -> Size:
    values: dict[str, object] = json.loads(text)  # what ends with a brace is an object or no JSON
    given = {name.lower(): value for name, value in values.items()}
    return Size(_dimension(given.get("width", 0)), _dimension(given.get("height", 0)))


def _dimension(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise ValueError(f"{value!r} is not the size of a terminal")
    return value
