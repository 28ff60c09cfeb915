"""Sparse files in tar archives: the four forms as GNU tar writes them, and maps that lie."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import tar
from support.tarballs import AT_ONCE, END, base_256, contents, extended, failure, file, header, padded, pieces, sealed

FORMS = ("gnu", "0.0", "0.1", "1.0")
Map = list[tuple[int, int]]


def gnu(segments: Map, stored: int, size: int, *, more: bool = False) -> bytes:
    """The header of GNU's old form, and the blocks of the map after it. Offsets are binary, lengths octal."""
    numbers = [base_256(offset, 12) + b"%011o\0" % length for offset, length in segments]
    block = bytearray(header(b"sparse", b"S", stored, magic=b"ustar ", version=b" "))
    block[386 : 386 + 24 * 4] = b"".join(numbers[:4]).ljust(24 * 4, b"\0")
    block[482] = more or len(numbers) > 4
    block[483:495] = base_256(size, 12)
    after = [numbers[start : start + 21] for start in range(4, len(numbers), 21)]
    tables = [b"".join(part).ljust(504, b"\0") + bytes([part is not after[-1] or more]) for part in after]
    return sealed(bytes(block)) + b"".join(map(padded, tables))


def pax(version: str, segments: Map, stored: int, size: int) -> bytes:
    """The headers of a PAX form, and the map before the content in form 1.0; `stored` is without it."""
    keys = [(b"GNU.sparse.major", version[:1].encode()), (b"GNU.sparse.minor", version[2:].encode())]
    name, total, count = (b"GNU.sparse.name", b"sparse"), b"%d" % size, b"%d" % len(segments)
    if version == "1.0":
        lines = padded(b"\n".join([count, *(b"%d\n%d" % segment for segment in segments), b""]))
        return extended(*keys, name, (b"GNU.sparse.realsize", total)) + header(size=stored + len(lines)) + lines
    records = [*keys, (b"GNU.sparse.size", total), (b"GNU.sparse.numblocks", count)]
    if version == "0.0":
        for offset, length in segments:
            records += [(b"GNU.sparse.offset", b"%d" % offset), (b"GNU.sparse.numbytes", b"%d" % length)]
        return extended(*records) + header(b"sparse", size=stored)
    numbers = b",".join(b"%d,%d" % segment for segment in segments)
    return extended(*records, name, (b"GNU.sparse.map", numbers)) + header(size=stored)


def mapped(form: str, segments: Map, stored: int, size: int) -> bytes:
    return gnu(segments, stored, size) if form == "gnu" else pax(form, segments, stored, size)


# ---- what GNU tar writes


def _sparse_file(path: Path, parts: list[tuple[int, bytes]], size: int) -> bytes:
    with open(path, "wb") as output:
        for offset, data in parts:
            output.seek(offset)
            output.write(data)
        output.truncate(size)
    return path.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_files_of_gnu_tar_are_read(form: str, tmp_path: Path) -> None:
    kilobyte = 1024
    files = {
        "hole": _sparse_file(tmp_path / "hole", [], 1 << 20),
        "ends-in-a-hole": _sparse_file(tmp_path / "ends-in-a-hole", [(0, b"a" * 700)], 1 << 20),
        "begins-with-a-hole": _sparse_file(tmp_path / "begins-with-a-hole", [(1 << 20, b"b" * 700)], (1 << 20) + 700),
        "holes": _sparse_file(
            tmp_path / "holes", [(64 * kilobyte * k, b"%d" % k * 2000) for k in range(1, 60)], 4 << 20
        ),
        "n" * 200: _sparse_file(tmp_path / ("n" * 200), [(1 << 20, b"c")], 2 << 20),
        "dense": _sparse_file(tmp_path / "dense", [(0, b"d" * 5000)], 5000),
    }
    options = ["--format=gnu"] if form == "gnu" else ["--format=posix", f"--sparse-version={form}"]
    data = subprocess.run(
        ["tar", "-c", "--sparse", "--hole-detection=raw", *options, "-C", tmp_path, *files],
        capture_output=True,
        check=True,
    ).stdout
    assert len(data) < 1 << 20
    for portion in (len(data), 10_000, 512, 77):
        found = contents(data, portion)
        assert {entry.name.decode(): content for entry, content in found} == files
        assert {entry.kind for entry, _ in found} == {tar.FILE}


# ---- what may be written


@st.composite
def maps(draw: st.DrawFn) -> tuple[Map, int]:
    """Parts in their order, and the size of the file; some parts are empty."""
    position, segments = 0, []
    for hole, length in draw(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), max_size=50)):
        segments.append((position + hole, length))
        position += hole + length
    return segments, position + draw(st.integers(0, 900))


@given(st.sampled_from(FORMS), maps(), st.integers(1, 2000))
def test_parts_come_where_they_belong(form: str, written: tuple[Map, int], portion: int) -> None:
    segments, size = written
    parts = [bytes([65 + number % 26]) * length for number, (_, length) in enumerate(segments)]
    whole = bytearray(size)
    for (offset, length), part in zip(segments, parts, strict=True):
        whole[offset : offset + length] = part
    stored = b"".join(parts)
    data = mapped(form, segments, len(stored), size) + padded(stored) + file(b"next") + END
    [(found, content), (_, following)] = contents(data, portion)
    assert (found.name, found.kind, found.size) == (b"sparse", tar.FILE, size)
    assert content == whole
    assert following == b"next"


@pytest.mark.parametrize("length", range(509, 516))
def test_maps_before_the_content_may_fill_their_block(length: int) -> None:
    numbers = [0] * 25 + [4]  # thirteen parts, the last of four bytes
    shortest, longer = divmod(length - len(b"13\n") - len(numbers), len(numbers))
    lines = b"".join(b"%0*d\n" % (shortest + (k < longer), number) for k, number in enumerate(numbers))
    head = extended((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"4"))
    stored = padded(b"13\n" + lines) + b"data"
    assert len(b"13\n" + lines) == length
    for portion in (AT_ONCE, 1):
        [(_, content)] = contents(head + header(size=len(stored)) + stored, portion)
        assert content == b"data"


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_may_end_with_a_hole(form: str) -> None:
    [(found, content)] = contents(mapped(form, [(700, 0)], 0, 700))
    assert (found.name, content) == (b"sparse", bytes(700))


def test_extended_headers_change_sparse_files_of_gnus_form() -> None:
    data = extended((b"path", b"long"), (b"uid", b"7")) + gnu([(512, 4)], 4, 1024) + padded(b"data") + file(b"") + END
    found = [(entry.name, entry.uid, content) for entry, content in contents(data)]
    assert found == [(b"long", 7, bytes(512) + b"data" + bytes(508)), (b"file", 0, b"")]


# ---- maps that lie

NO_SENSE = "'sparse': the map of its holes makes no sense"
NO_FIT = "'sparse': the map of its holes does not fit its size"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("segments", "stored", "size", "why"),
    [
        ([(0, 512), (256, 512)], 1024, 4096, NO_SENSE),  # one part over another
        ([(1024, 512), (0, 512)], 1024, 4096, NO_SENSE),  # backwards
        ([(0, 512), (4096, 1)], 513, 4096, NO_SENSE),  # beyond the end
        ([(0, 1 << 33)], 512, 4096, NO_SENSE),
        ([(0, 512)], 1024, 4096, NO_FIT),  # content that no part has
        ([(0, 512), (1024, 512)], 512, 4096, NO_FIT),  # parts without content
    ],
)
def test_maps_that_lie_are_refused(form: str, segments: Map, stored: int, size: int, why: str) -> None:
    assert failure(mapped(form, segments, stored, size) + bytes(stored)) == why


@pytest.mark.parametrize("form", ["gnu", "1.0"])
def test_content_without_a_map_is_refused(form: str) -> None:
    assert failure(mapped(form, [], 512, 4096) + bytes(512)) == NO_FIT


@pytest.mark.parametrize(
    ("records", "size", "why"),
    [
        ([(b"GNU.sparse.map", b"0,5,9")], 5, "the map of a sparse file of the archive is malformed"),
        ([(b"GNU.sparse.map", b"0,-5")], 5, "the map of a sparse file in the archive is b'-5', no number"),
        ([(b"GNU.sparse.map", b",")], 5, "the map of a sparse file in the archive is b'', no number"),
        ([(b"GNU.sparse.offset", b"0")], 5, "the map of a sparse file of the archive is malformed"),
        ([(b"GNU.sparse.numbytes", b"")], 5, "the map of a sparse file in the archive is b'', no number"),
        ([(b"GNU.sparse.size", b"big")], 5, "GNU.sparse.size in the archive is b'big', no number"),
        ([(b"GNU.sparse.size", b"5"), (b"size", b"five")], 5, "size in the archive is b'five', no number"),
        ([(b"GNU.sparse.size", b"4")], 5, "'file': the map of its holes makes no sense"),
    ],
)
def test_records_that_lie_are_refused(records: list[tuple[bytes, bytes]], size: int, why: str) -> None:
    assert failure(extended(*records) + header(size=size) + bytes(512)) == why


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (b"", "'file': the map of its holes is cut off"),
        (b"1", "'file': the map of its holes is cut off"),
        (b"1\n0\n", "'file': the map of its holes is cut off"),
        (b"2\n0\n1\n2\n", "'file': the map of its holes is cut off"),
        (b"9" * 19 + b"\n0\n1\n", "'file': the map of its holes is cut off"),
        (b"9" * 20 + b"\n0\n1\n", "the number of parts of a sparse file in the archive"),
        (b"\n0\n1\n", "the number of parts of a sparse file in the archive is b'', no number"),
        (b"-1\n0\n1\n", "the number of parts of a sparse file in the archive is b'-1', no number"),
        (b"1\n0\nx\n", "the map of a sparse file in the archive is b'x', no number"),
        (b"1\n0\n1\n", "'file': the map of its holes does not fit its size"),  # its last block is not content
        (b"1\n" * tar.LARGEST_EXTENSION, "'file': the map of its holes does not fit its size"),
        (b"0" * tar.LARGEST_EXTENSION, "'file': the map of its holes is cut off"),
        (b"500000\n" + b"1\n" * tar.LARGEST_EXTENSION, "'file': the map of its holes is cut off"),
    ],
)
def test_maps_before_the_content_that_lie_are_refused(lines: bytes, why: str) -> None:
    head = extended((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9"))
    assert why in pieces(head + header(size=len(lines)) + padded(lines) + END)[1]


def test_maps_in_headers_are_bounded() -> None:
    head = gnu([(0, 1)] * 4, 4, 4, more=True)
    table = padded(b"".join(b"%011o\0%011o\0" % (0, 1) for _ in range(21)) + b"\1")
    assert pieces(head + table * 2048)[1] == "the archive is cut off"
    assert pieces(head + table * 2049)[1] == "a sparse file of the archive has too many holes"


def test_a_map_that_never_ends_is_refused() -> None:
    data = gnu([(0, 1)] * 5, 5, 5, more=True)
    assert pieces(data)[1] == "the archive is cut off"
