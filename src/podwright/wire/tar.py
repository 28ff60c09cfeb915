"""Reading tar archives: bytes in, entries and contents out.

Understands what layers of images are written in: ustar, PAX (POSIX.1-2001), GNU long names, GNU sparse files in their
four forms. Names are bytes, as they are. Knows nothing of file systems: what names mean is for others to judge.

    header ──► content ──► padding ──► header …  ──► end (two blocks of zeros, or no more bytes)
      ▲  extension headers (x, L, K) are kept whole and change the next header
"""

import functools
import struct
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple
from zlib import adler32

from podwright.errors import InvalidArgument

BLOCK = 512
LARGEST_EXTENSION = 1 << 20
"""Bytes of an extension header, of what all those of an entry say, or of the map of a sparse file. Go's reader allows
as much for each.
"""

FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_OLD_FILE, _CONTIGUOUS = b"\0", b"7"
_KINDS = {
    _OLD_FILE: FILE,
    _CONTIGUOUS: FILE,
    **{kind: kind for kind in (FILE, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO)},
}
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK, _GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"
_XATTR = b"SCHILY.xattr."
_MAJOR_BITS, _MINOR_BITS = 12, 20  # of a device number (include/linux/kdev_t.h)

# name mode uid gid size mtime checksum type link magic version uname gname major minor prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_ZEROS = bytes(BLOCK)

Segments = list[tuple[int, int]]
Pax = dict[bytes, bytes]


class Entry(NamedTuple):
    """One file of an archive. (A tuple: layers have tens of thousands of them.)"""

    name: bytes
    kind: bytes
    """FILE, LINK (a hard one), SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY or FIFO."""
    mode: int
    uid: int
    gid: int
    size: int
    """Of a FILE's content, holes included."""
    mtime_ns: int
    atime_ns: int | None
    target: bytes
    """Of links."""
    major: int
    minor: int
    xattrs: dict[bytes, bytes]


class Content(NamedTuple):
    """A piece of the file announced last, and where in it. Valid until the next is asked for."""

    offset: int
    data: memoryview


class TarReader:
    """Takes an archive in pieces of any size; `close` it at the end."""

    def __init__(self) -> None:
        self._rest = b""
        self._pax: Pax = {}
        self._segments: deque[tuple[int, int]] = deque()
        """What is left of the current file's content: offset and length, in the order of the archive."""
        self._padding = 0
        self._sparse: tuple[Entry, int] | None = None
        """A file of PAX sparse format 1.0 whose map is still to come, and the bytes of map and content."""
        self._ending = False
        """The first of the two blocks at the end was read."""
        self._ended = False

    def feed(self, data: bytes) -> Iterator[Entry | Content]:
        """What the next bytes hold; to be exhausted before the next call. Raises InvalidArgument."""
        data = self._rest + data if self._rest else data
        view = memoryview(data)
        position, end = 0, len(data)
        while not self._ended:
            while self._segments and position < end:
                offset, length = self._segments[0]
                taken = min(length, end - position)
                if taken == length:
                    self._segments.popleft()
                else:
                    self._segments[0] = (offset + taken, length - taken)
                yield Content(offset, view[position : position + taken])
                position += taken
            skipped = min(self._padding, end - position)
            self._padding -= skipped
            position += skipped
            entry, consumed = self._sparse_map(data, position) if self._sparse else self._header(data, position)
            if not consumed:
                break
            position += consumed
            if entry is not None:
                yield entry
        self._rest = b"" if self._ended else data[position:]

    def close(self) -> None:
        """Says that there is no more. Raises InvalidArgument if the archive is cut off."""
        if not self._ended and (self._rest or self._segments or self._sparse or self._pax):
            raise InvalidArgument("the archive is cut off")

    def _header(self, data: bytes, position: int) -> tuple[Entry | None, int]:
        """Reads the header at `position`, and what extends it. The number of bytes used is 0 if some are missing."""
        block = data[position : position + BLOCK]
        if len(block) < BLOCK:
            return None, 0
        if block == _ZEROS:
            self._ended, self._ending = self._ending, True
            return None, BLOCK
        if self._ending:
            raise InvalidArgument("the archive goes on after a block of zeros")
        fields = _HEADER.unpack(block)
        _check(block, fields[6])
        kind = fields[7]
        if kind in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
            return None, self._extension(kind, _number(fields[4]), data, position + BLOCK)
        if kind == _GNU_SPARSE:
            return self._gnu_sparse(fields, data, position)
        pax, self._pax = self._pax, {}
        entry = _entry(fields, pax)
        stored = _decimal(pax[b"size"], "size") if b"size" in pax else _number(fields[4])
        if entry.kind != FILE:
            return entry._replace(size=0), BLOCK
        if pax.get(b"GNU.sparse.major") == b"1":
            self._sparse = (entry, stored)
            return None, BLOCK
        segments = _pax_segments(pax)
        if segments is None:
            segments = [(0, stored)]
        self._expect(entry, segments, stored)
        return entry, BLOCK

    def _expect(self, entry: Entry, segments: Segments, stored: int) -> None:
        """Sets what content comes next: `stored` bytes."""
        position = 0
        for offset, length in segments:
            if offset < position or offset + length > entry.size:
                raise InvalidArgument(f"{_shown(entry.name)}: the map of its holes makes no sense")
            position = offset + length
        if sum(length for _, length in segments) != stored:
            raise InvalidArgument(f"{_shown(entry.name)}: the map of its holes does not fit its size")
        self._segments = deque(segment for segment in segments if segment[1])
        self._padding = -stored % BLOCK

    def _extension(self, kind: bytes, size: int, data: bytes, start: int) -> int:
        """Keeps what an extension header says about the next entry. Returns the bytes used, header included."""
        if size > LARGEST_EXTENSION:
            raise InvalidArgument(f"an extension header of the archive has {size} bytes")
        padded = size + -size % BLOCK
        if len(data) < start + padded:
            return 0
        body = data[start : start + size]
        if kind == _PAX:
            self._pax = {**self._pax, **_pax_records(body)}
        elif kind == _GNU_NAME:
            self._pax[b"path"] = body.split(b"\0", 1)[0]
        elif kind == _GNU_LINK:
            self._pax[b"linkpath"] = body.split(b"\0", 1)[0]
        if sum(len(key) + len(value) for key, value in self._pax.items()) > LARGEST_EXTENSION:
            raise InvalidArgument("the extension headers of an entry of the archive are too many")
        return BLOCK + padded

    def _gnu_sparse(self, fields: tuple[bytes, ...], data: bytes, position: int) -> tuple[Entry | None, int]:
        """GNU's old sparse format: the map is in the header and in blocks after it."""
        block = data[position : position + BLOCK]
        segments = _gnu_map(block[386:482])
        more, consumed = block[482], BLOCK
        while more:
            block_of_map = data[position + consumed : position + consumed + BLOCK]
            if len(block_of_map) < BLOCK:
                return None, 0
            if consumed > LARGEST_EXTENSION:
                raise InvalidArgument("a sparse file of the archive has too many holes")
            segments += _gnu_map(block_of_map[:504])
            more = block_of_map[504]
            consumed += BLOCK
        # The place of ustar's prefix holds the map.
        named = (*fields[:7], FILE, *fields[8:15], b"")
        entry = _entry(named, self._pax)._replace(size=_number(block[483:495]))
        self._pax = {}
        self._expect(entry, segments, _number(fields[4]))
        return entry, consumed

    def _sparse_map(self, data: bytes, position: int) -> tuple[Entry | None, int]:
        """PAX sparse format 1.0: the content begins with the map, decimal numbers a line, padded to a block."""
        assert self._sparse is not None
        entry, stored = self._sparse
        available = data[position : position + min(stored, LARGEST_EXTENSION)]
        lines = available.split(b"\n")
        count = _decimal(lines[0], "the number of parts of a sparse file") if len(lines) > 1 else -1
        if count < 0 or len(lines) <= 1 + 2 * count:
            if len(available) == min(stored, LARGEST_EXTENSION):
                raise InvalidArgument(f"{_shown(entry.name)}: the map of its holes is cut off")
            return None, 0
        numbers = [_decimal(line, "the map of a sparse file") for line in lines[1 : 1 + 2 * count]]
        length = sum(len(line) + 1 for line in lines[: 1 + 2 * count])
        length += -length % BLOCK
        if len(data) < position + length:
            return None, 0
        self._sparse = None
        self._expect(entry, list(zip(numbers[::2], numbers[1::2], strict=True)), stored - length)
        return entry, length


def _check(block: bytes, checksum: bytes) -> None:
    """Compares the sum of a header's bytes, its own field taken as blanks.

    adler32's lower half is one more than the sum, modulo 65521; some 20 times faster than sum(). Old tars took bytes
    as signed: such headers are rare enough to be summed again.
    """
    expected = _number(checksum)
    found = (adler32(block) & 0xFFFF) - 1 - sum(checksum) + 8 * 0x20
    if (found - expected) % 65521:
        signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 8 * 0x20
        if signed != expected:
            raise InvalidArgument("a header of the archive has a wrong checksum")


def _entry(fields: tuple[bytes, ...], pax: Pax) -> Entry:
    name, mode, uid, gid, size, mtime, _, kind, target, magic, _, _, _, major, minor, prefix = fields
    name = name.split(b"\0", 1)[0]
    if magic == b"ustar\0" and prefix[:1] not in (b"", b"\0"):
        name = prefix.split(b"\0", 1)[0] + b"/" + name
    known = _KINDS.get(kind)
    if known is None:
        raise InvalidArgument(f"{_shown(name)}: files of tar's type {kind!r} cannot be in a layer")
    if kind == _OLD_FILE and (pax.get(b"path") or name).endswith(b"/"):
        known = DIRECTORY  # before POSIX there was no other sign
    entry = Entry(
        name=name,
        kind=known,
        mode=_number(mode) & 0o7777,
        uid=_number(uid),
        gid=_number(gid),
        size=_number(size),
        mtime_ns=_number(mtime, signed=True) * 1_000_000_000,
        atime_ns=None,
        target=target.split(b"\0", 1)[0],
        major=_number(major) if known in (CHARACTER, BLOCK_DEVICE) else 0,
        minor=_number(minor) if known in (CHARACTER, BLOCK_DEVICE) else 0,
        xattrs={},
    )
    entry = _with_pax(entry, pax) if pax else entry
    if b"\0" in entry.name or b"\0" in entry.target:
        raise InvalidArgument(f"{_shown(entry.name)}: a name in the archive has a zero byte")
    if max(entry.uid, entry.gid) >= 0xFFFFFFFF:  # -1 means "leave as it is" to the kernel
        raise InvalidArgument(f"{_shown(entry.name)}: no such owner: {entry.uid}:{entry.gid}")
    if entry.major >> _MAJOR_BITS or entry.minor >> _MINOR_BITS:
        raise InvalidArgument(f"{_shown(entry.name)}: no such device: {entry.major}:{entry.minor}")
    return entry


def _with_pax(entry: Entry, pax: Pax) -> Entry:
    return entry._replace(
        name=pax.get(b"GNU.sparse.name") or pax.get(b"path") or entry.name,
        target=pax.get(b"linkpath") or entry.target,
        uid=_decimal(pax[b"uid"], "uid") if b"uid" in pax else entry.uid,
        gid=_decimal(pax[b"gid"], "gid") if b"gid" in pax else entry.gid,
        size=_pax_size(pax, entry.size),
        mtime_ns=_nanoseconds(pax[b"mtime"]) if b"mtime" in pax else entry.mtime_ns,
        atime_ns=_nanoseconds(pax[b"atime"]) if b"atime" in pax else None,
        xattrs={key[len(_XATTR) :]: value for key, value in pax.items() if key.startswith(_XATTR)},
    )


def _pax_size(pax: Pax, size: int) -> int:
    for key in (b"GNU.sparse.realsize", b"GNU.sparse.size", b"size"):
        if key in pax:
            return _decimal(pax[key], key.decode())
    return size


def _pax_records(body: bytes) -> Pax:
    """Records are "length key=value\\n"; an empty value means the header's own, but for xattrs (pax(1), "Extended
    Header"). Format 0.0 of sparse files repeats two keys; they become the map of 0.1.
    """
    records: Pax = {}
    repeated: list[bytes] = []
    position = 0
    while position < len(body):
        length = body[position : position + 20].partition(b" ")[0]
        end = position + _decimal(length, "the length of an extended header")
        key, _, value = body[position + len(length) + 1 : end].partition(b"=")
        if not key or b"\0" in key or not value.endswith(b"\n") or len(body) < end:
            raise InvalidArgument("an extended header of the archive is malformed")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            repeated.append(value[:-1])
        elif value != b"\n" or key.startswith(_XATTR):
            records[key] = value[:-1]
        position = end
    if repeated:
        records[b"GNU.sparse.map"] = b",".join(repeated)
    return records


def _pax_segments(pax: Pax) -> Segments | None:
    """The map of a sparse file in PAX format 0.1; None if it is no sparse file."""
    text = pax.get(b"GNU.sparse.map")
    if text is None:
        return None
    numbers = [_decimal(number, "the map of a sparse file") for number in text.split(b",")]
    if len(numbers) % 2:
        raise InvalidArgument("the map of a sparse file of the archive is malformed")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _gnu_map(table: bytes) -> Segments:
    """Pairs of 12 bytes each; an empty one ends the table."""
    segments: Segments = []
    for start in range(0, len(table) - 23, 24):
        if table[start] == 0:
            break
        segments.append((_number(table[start : start + 12]), _number(table[start + 12 : start + 24])))
    return segments


@functools.lru_cache(4096)  # owners, modes and times are the same again and again
def _number(field: bytes, *, signed: bool = False) -> int:
    """Octal digits, or GNU's binary form for numbers that are too large for them."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
        if not field[0] & 0x40:  # the sign is the bit after the mark
            value += 1 << (8 * len(field) - 1)
        if value < 0 and not signed:
            raise InvalidArgument("a header of the archive has a negative number")
        return value
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if digits.translate(None, b"01234567"):
        raise InvalidArgument(f"a header of the archive has {digits!r} for a number")
    return int(digits, 8)


def _decimal(text: bytes, what: str) -> int:
    if not text.isdigit() or len(text) > 19:
        raise InvalidArgument(f"{what} in the archive is {text[:40]!r}, no number")
    return int(text)


def _nanoseconds(text: bytes) -> int:
    """Decimal seconds; more than nine decimals are cut off."""
    whole, _, fraction = text.partition(b".")
    negative = whole.startswith(b"-")
    value = _decimal(whole.removeprefix(b"-"), "a time") * 1_000_000_000
    value += _decimal(fraction[:9].ljust(9, b"0"), "a time")
    return -value if negative else value


def _shown(name: bytes) -> str:
    return repr(name.decode(errors="backslashreplace"))
