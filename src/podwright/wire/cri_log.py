"""The log format of CRI: one line for each piece of a container's output.

    2026-11-24T16:16:58.123456789Z stdout F the text
    <time> <stdout|stderr> <tags, the first is P (a piece, more of the line follows) or F (full)> <text>

Owns the reading of it: bytes in, whole lines out. Pieces of a line are joined, for each stream by itself. Opens no
file. A kubelet that rotates may cut anywhere between two lines, never inside one.
"""

import calendar
import re
import time
from dataclasses import dataclass, field
from typing import Final, Literal

Stream = Literal["stdout", "stderr"]

_STREAMS: Final[dict[bytes, Stream]] = {b"stdout": "stdout", b"stderr": "stderr"}

_TIME: Final = re.compile(
    r"(?!0000)([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.(?P<decimals>[0-9]+))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))"
)

LONGEST_LINE: Final = 1 << 20
"""Bytes of joined pieces; a longer line comes out in parts, lest a container without newlines fill the memory."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a container wrote."""

    time_ns: int
    """When its first piece was written, nanoseconds since the epoch."""
    stream: Stream
    text: bytes
    """Without the newline."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """What is not in this format; such as the last words of a runtime that was killed while it wrote."""

    text: bytes


@dataclass(slots=True)
class _Joined:
    time_ns: int = 0
    text: bytearray = field(default_factory=bytearray)
    begun: bool = False


@dataclass(slots=True)
class LogReader:
    """Turns the bytes of a log file into lines. Bytes may be given in portions of any size."""

    _rest: bytes = b""
    _joined: dict[Stream, _Joined] = field(default_factory=lambda: {"stdout": _Joined(), "stderr": _Joined()})

    def receive(self, data: bytes) -> list[Line | Malformed]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [line for raw in whole for line in self._read(raw)]
        if len(self._rest) > LONGEST_LINE:  # runtimes cut after 16 KiB
            lines.append(Malformed(self._rest))
            self._rest = b""
        return lines

    def finish(self) -> list[Line | Malformed]:
        """What is left at the end of the file: pieces without an end, then half a record."""
        left: list[Line | Malformed] = []
        for stream, joined in self._joined.items():
            if joined.begun:
                left.append(Line(joined.time_ns, stream, bytes(joined.text)))
        if self._rest:
            left.append(Malformed(self._rest))
        self._rest, self._joined = b"", {"stdout": _Joined(), "stderr": _Joined()}
        return left

    def _read(self, raw: bytes) -> list[Line | Malformed]:
        record = parse(raw)
        if isinstance(record, Malformed):
            return [record] if raw else []
        joined = self._joined[record.stream]
        if record.full and not joined.begun:
            return [Line(record.time_ns, record.stream, record.text)]
        if not joined.begun:
            joined.time_ns, joined.begun = record.time_ns, True
        joined.text += record.text
        if not record.full and len(joined.text) < LONGEST_LINE:
            return []
        self._joined[record.stream] = _Joined()
        return [Line(joined.time_ns, record.stream, bytes(joined.text))]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the file."""

    time_ns: int
    stream: Stream
    full: bool
    text: bytes


def parse(raw: bytes) -> Record | Malformed:
    """Reads one line of the file, given without its newline."""
    stamp, _, rest = raw.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tags, _, text = rest.partition(b" ")
    tag = tags.partition(b":")[0]
    time_ns = parse_time(stamp.decode("ascii", "replace"))
    if time_ns is None or stream not in _STREAMS or tag not in {b"P", b"F"}:
        return Malformed(raw)
    return Record(time_ns, _STREAMS[stream], tag == b"F", text)


def parse_time(text: str) -> int | None:
    """Reads an RFC 3339 time with any number of decimals, as nanoseconds since the epoch; None for anything else."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 60):
        return None
    offset = 0
    if found["sign"]:
        offset = int(f"{found['sign']}1") * (int(found["hours"]) * 3600 + int(found["minutes"]) * 60)
    seconds = calendar.timegm((year, month, day, hour, minute, second)) - offset
    return seconds * 10**9 + int((found["decimals"] or "")[:9].ljust(9, "0"))


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC with nine decimals, as logs have it."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // 10**9))
    return f"{stamp}.{time_ns % 10**9:09d}Z"
