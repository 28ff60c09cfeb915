"""Archives for the tests of wire/tar.py: made header by header, and read back whole."""

import struct
from collections.abc import Iterator

from podwright.errors import InvalidArgument
from podwright.wire.tar import Content, Entry, TarReader

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
END = bytes(1024)
AT_ONCE = 1 << 30


def header(name: bytes = b"file", kind: bytes = b"0", size: int | bytes = 0, **fields: bytes) -> bytes:
    """A ustar header with a right checksum. Numbers are octal, or the bytes of the field as they are."""
    octal = size if isinstance(size, bytes) else b"%011o" % size
    whole = {
        "name": name, "mode": b"0000644", "uid": b"0000000", "gid": b"0000000", "size": octal, "mtime": b"00000000000",
        "checksum": b"", "kind": kind, "target": b"", "magic": b"ustar", "version": b"00", "uname": b"", "gname": b"",
        "major": b"", "minor": b"", "prefix": b"", **fields,
    }  # fmt: skip
    return sealed(_HEADER.pack(*whole.values()))


def sealed(block: bytes) -> bytes:
    """A header with its checksum made right."""
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def base_256(number: int, width: int) -> bytes:
    """GNU's form of a number: two's complement after a bit that is set."""
    mark = 1 << 8 * width - 1
    return (number % mark | mark).to_bytes(width)


def padded(data: bytes) -> bytes:
    """Filled up to whole blocks."""
    return data + bytes(-len(data) % 512)


def file(data: bytes, name: bytes = b"file", **fields: bytes) -> bytes:
    """A file's header and content."""
    return header(name, size=len(data), **fields) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    """One record of an extended header: its length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def extended(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header of these records."""
    return raw_extended(b"".join(record(key, value) for key, value in records), kind)


def raw_extended(body: bytes, kind: bytes = b"x") -> bytes:
    """An extension header with this body, as it is."""
    return header(b"extension", kind, len(body)) + padded(body)


def events(data: bytes, portion: int = AT_ONCE) -> Iterator[Entry | Content]:
    """What a reader makes of an archive that arrives in portions of so many bytes, `close` included."""
    reader = TarReader()
    for start in range(0, len(data), portion):
        yield from reader.feed(data[start : start + portion])
    reader.close()


def pieces(data: bytes, portion: int = AT_ONCE) -> tuple[list[tuple[Entry, list[tuple[int, bytes]]]], str]:
    """Entries with the pieces of their content, neighbours joined, and what was wrong in the end. Independent of
    portions.
    """
    found: list[tuple[Entry, list[tuple[int, bytes]]]] = []
    try:
        for event in events(data, portion):
            if isinstance(event, Entry):
                found.append((event, []))
                continue
            inside = found[-1][1]
            if inside and inside[-1][0] + len(inside[-1][1]) == event.offset:
                inside[-1] = (inside[-1][0], inside[-1][1] + bytes(event.data))
            else:
                inside.append((event.offset, bytes(event.data)))
    except InvalidArgument as error:
        return found, str(error)
    return found, ""


def contents(data: bytes, portion: int = AT_ONCE) -> list[tuple[Entry, bytes]]:
    """Entries with their content, holes filled with zeros. The archive is a good one."""
    found, wrong = pieces(data, portion)
    assert not wrong, wrong
    whole = []
    for entry, inside in found:
        content = bytearray(entry.size)
        for offset, data_there in inside:
            content[offset : offset + len(data_there)] = data_there
        assert len(content) == entry.size
        whole.append((entry, bytes(content)))
    return whole


def entry(data: bytes) -> Entry:
    """The only entry of an archive without its end."""
    [(found, _)] = contents(data + END)
    return found


def failure(data: bytes) -> str:
    """What is wrong with an archive."""
    found = pieces(data + END)[1]
    assert found == pieces(data + END, 100)[1]
    return found
