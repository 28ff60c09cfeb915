"""Reading tar archives: one header at a time, good and hostile."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.errors import InvalidArgument
from podwright.wire import tar
from podwright.wire.tar import Entry, TarReader
from support.tarballs import (
    END,
    base_256,
    contents,
    entry,
    events,
    extended,
    failure,
    file,
    header,
    padded,
    pieces,
    raw_extended,
    record,
    sealed,
)

PLAIN = Entry(b"file", tar.FILE, 0o644, 0, 0, 0, 0, None, b"", 0, 0, {})


# ---- headers


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {}),
        ({"name": b"n" * 100}, {"name": b"n" * 100}),
        ({"name": b"a", "prefix": b"dir/sub"}, {"name": b"dir/sub/a"}),
        ({"name": b"a", "prefix": b"p" * 155}, {"name": b"p" * 155 + b"/a"}),
        ({"name": b"a", "prefix": b"not of GNU's", "magic": b"ustar ", "version": b" "}, {"name": b"a"}),
        ({"name": b"a", "prefix": b"not of v7's", "magic": b""}, {"name": b"a"}),
        ({"name": b"\xff\xfe not UTF-8"}, {"name": b"\xff\xfe not UTF-8"}),
        ({"name": b"junk\0after"}, {"name": b"junk"}),
        ({"name": b"dir/", "kind": b"5"}, {"name": b"dir/", "kind": tar.DIRECTORY}),
        ({"name": b"dir/", "kind": b"\0"}, {"name": b"dir/", "kind": tar.DIRECTORY}),
        ({"name": b"file", "kind": b"\0"}, {"kind": tar.FILE}),
        ({"name": b"file/", "kind": b"0"}, {"name": b"file/", "kind": tar.FILE}),  # as Go's reader has it
        ({"kind": b"7"}, {"kind": tar.FILE}),
        ({"kind": b"1", "target": b"other"}, {"kind": tar.LINK, "target": b"other"}),
        ({"kind": b"2", "target": b"t" * 100}, {"kind": tar.SYMLINK, "target": b"t" * 100}),
        ({"kind": b"3", "major": b"0000001", "minor": b"0000003"}, {"kind": tar.CHARACTER, "major": 1, "minor": 3}),
        ({"kind": b"4", "major": b"7777", "minor": b"3777777"}, {"kind": b"4", "major": 4095, "minor": 1048575}),
        ({"kind": b"6", "major": b"nonsense"}, {"kind": tar.FIFO}),
        ({"mode": b"0104755"}, {"mode": 0o4755}),
        ({"mode": b"  644 "}, {"mode": 0o644}),
        ({"mode": b"\x00\x00\x00644"}, {"mode": 0o644}),
        ({"mode": b""}, {"mode": 0}),
        ({"uid": b"7777777", "gid": b"1750"}, {"uid": 0o7777777, "gid": 1000}),
        ({"uid": base_256(0xFFFFFFFE, 8)}, {"uid": 0xFFFFFFFE}),
        ({"mtime": b"14000000000"}, {"mtime_ns": 0o14000000000 * 10**9}),
        ({"mtime": base_256(1 << 40, 12)}, {"mtime_ns": (1 << 40) * 10**9}),
        ({"mtime": base_256(-1, 12)}, {"mtime_ns": -(10**9)}),
        ({"mtime": base_256(-(1 << 40), 12)}, {"mtime_ns": -(1 << 40) * 10**9}),
        ({"kind": b"5", "size": b"7777"}, {"kind": tar.DIRECTORY, "size": 0}),  # has no content, whatever it says
        ({"kind": b"1", "size": b"7777"}, {"kind": tar.LINK, "size": 0}),
    ],
)
def test_a_header_is_read(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert entry(header(**fields)) == PLAIN._replace(**expected)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"mode": b"0000999"}, "has b'0000999' for a number"),
        ({"uid": b"-1"}, "has b'-1' for a number"),
        ({"gid": b"12 34"}, "has b'12 34' for a number"),
        ({"size": b"ten"}, "has b'ten' for a number"),
        ({"size": base_256(-512, 12)}, "has a negative number"),
        ({"mtime": b"1.5"}, "has b'1.5' for a number"),
        ({"uid": base_256(0xFFFFFFFF, 8)}, "'file': no such owner: 4294967295:0"),
        ({"gid": base_256(1 << 40, 8)}, "'file': no such owner: 0:1099511627776"),
        ({"uid": base_256(-1, 8)}, "has a negative number"),
        ({"kind": b"3", "major": b"10000"}, "'file': no such device: 4096:0"),
        ({"kind": b"3", "minor": b"4000000"}, "'file': no such device: 0:1048576"),
        ({"kind": b"4", "minor": base_256(1 << 50, 8)}, "'file': no such device: 0:1125899906842624"),
        ({"kind": b"V", "name": b"volume"}, "'volume': files of tar's type b'V' cannot be in a layer"),
        ({"kind": b"D"}, "tar's type b'D'"),
        ({"kind": b"M"}, "tar's type b'M'"),
        ({"kind": b"X"}, "tar's type b'X'"),
        ({"kind": b"\xff", "name": b"\xff"}, r"'\\xff': files of tar's type b'\xff'"),
    ],
)
def test_hostile_headers_are_refused(fields: dict[str, Any], why: str) -> None:
    assert why in failure(header(**fields))


def test_a_wrong_checksum_is_noticed() -> None:
    good = file(b"text")
    for position in (0, 124, 148, 156, 511):
        bad = bytearray(good)
        bad[position] ^= 1
        assert "wrong checksum" in failure(bytes(bad))
    assert "for a number" in failure(b"text" * 128)


def test_checksums_of_signed_bytes_are_taken() -> None:
    block = bytearray(header(b"\x7f\x80\xfc", mtime=b"000000000001"))
    signed = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 8 * 0x20
    block[148:156] = b"%06o\0 " % signed
    assert entry(bytes(block)).name == b"\x7f\x80\xfc"


def test_checksums_of_large_bytes_are_right() -> None:
    assert entry(header(b"\xff" * 100, b"2", target=b"\xff" * 100, prefix=b"\xff" * 155)).target == b"\xff" * 100


@given(st.integers(-(1 << 94), (1 << 94) - 1))
def test_binary_numbers_are_read(number: int) -> None:
    assert entry(header(mtime=base_256(number, 12))).mtime_ns == number * 10**9


# ---- the end


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1024), bytes(10240), bytes(1024) + b"what follows is not read"])
def test_an_archive_ends(end: bytes) -> None:
    assert [one.name for one, _ in contents(header(b"a") + header(b"b") + end)] == [b"a", b"b"]
    assert contents(end, 100) == []


def test_extended_headers_of_no_file_are_nothing() -> None:
    assert contents(extended((b"path", b"a")) + END) == []


def test_padding_may_be_missing_at_the_end() -> None:
    assert contents(header(size=3) + b"abc") == [(PLAIN._replace(size=3), b"abc")]


@pytest.mark.parametrize(
    "data",
    [
        header()[:511],
        header() + b"x",
        header(size=3) + b"ab",
        header(size=513) + bytes(512),
        raw_extended(record(b"path", b"a")),
        raw_extended(record(b"path", b"a"))[:700],
        raw_extended(b"name\0", b"L"),
        sealed(header(kind=b"S")[:482] + b"\1" + bytes(29)),
        extended((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"9")) + header(size=1024) + b"1\n0\n",
        extended((b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"9")) + header(size=1024),
        bytes(512) + bytes(100),
    ],
)
def test_an_archive_that_is_cut_off_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="is cut off"):
        list(events(data))


def test_nothing_is_lost_after_a_block_of_zeros() -> None:
    assert "goes on after a block of zeros" in failure(header(b"a") + bytes(512) + header(b"b"))


def test_content_comes_as_it_arrives() -> None:
    reader = TarReader()
    [found] = reader.feed(header(size=600))
    assert found == PLAIN._replace(size=600)
    assert [(one.offset, bytes(one.data)) for one in reader.feed(b"a" * 400) if not isinstance(one, Entry)] == [
        (0, b"a" * 400)
    ]
    assert list(reader.feed(b"")) == []
    assert [(one.offset, bytes(one.data)) for one in reader.feed(b"b" * 300) if not isinstance(one, Entry)] == [
        (400, b"b" * 200)
    ]
    assert list(reader.feed(bytes(324) + header(b"next"))) == [PLAIN._replace(name=b"next")]
    reader.close()


def test_sizes_beyond_all_memory_are_announced() -> None:
    reader = TarReader()
    assert next(reader.feed(header(size=base_256(1 << 62, 12)))) == PLAIN._replace(size=1 << 62)
    with pytest.raises(InvalidArgument, match="is cut off"):
        reader.close()


# ---- extension headers


@pytest.mark.parametrize(
    ("records", "fields", "expected"),
    [
        ([(b"path", b"long/" * 60 + b"name")], {}, {"name": b"long/" * 60 + b"name"}),
        ([(b"path", b"dir/")], {"kind": b"\0"}, {"name": b"dir/", "kind": tar.DIRECTORY}),
        ([(b"path", b"\xff=\n")], {}, {"name": b"\xff=\n"}),
        ([(b"linkpath", b"t" * 300)], {"kind": b"2", "target": b"t"}, {"kind": tar.SYMLINK, "target": b"t" * 300}),
        ([(b"uid", b"2097152"), (b"gid", b"4294967294")], {}, {"uid": 2097152, "gid": 4294967294}),
        ([(b"mtime", b"1.000000001")], {}, {"mtime_ns": 1000000001}),
        ([(b"mtime", b"1.5"), (b"atime", b"2"), (b"ctime", b"3")], {}, {"mtime_ns": 15 * 10**8, "atime_ns": 2 * 10**9}),
        ([(b"mtime", b"1.1234567899")], {}, {"mtime_ns": 1123456789}),
        ([(b"mtime", b"-1.25")], {}, {"mtime_ns": -1250000000}),
        ([(b"mtime", b"-0.5")], {}, {"mtime_ns": -500000000}),
        ([(b"mtime", b"7.")], {}, {"mtime_ns": 7 * 10**9}),
        ([(b"size", b"0")], {"size": b"0"}, {"size": 0}),
        ([(b"SCHILY.xattr.user.a", b"\0\xff=\n")], {}, {"xattrs": {b"user.a": b"\0\xff=\n"}}),
        ([(b"SCHILY.xattr.user.empty", b"")], {}, {"xattrs": {b"user.empty": b""}}),
        ([(b"comment", b"x"), (b"uname", b"root"), (b"VENDOR.key", b"1")], {}, {}),
        # an empty value leaves the header's
        (
            [(key, b"") for key in (b"path", b"uid", b"gid", b"size", b"mtime", b"atime", b"linkpath")],
            {"uid": b"5", "mtime": b"7"},
            {"uid": 5, "mtime_ns": 7 * 10**9},
        ),
        ([(b"path", b"one"), (b"path", b"two")], {}, {"name": b"two"}),
    ],
)
def test_extended_headers_change_the_next_entry(
    records: list[tuple[bytes, bytes]], fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    data = extended(*records) + header(**fields) + header(b"next") + END
    assert [one for one, _ in contents(data)] == [PLAIN._replace(**expected), PLAIN._replace(name=b"next")]


@pytest.mark.parametrize(
    ("extensions", "fields", "expected"),
    [
        (raw_extended(b"long/name\0", b"L"), {}, {"name": b"long/name"}),
        (raw_extended(b"long/name", b"L"), {}, {"name": b"long/name"}),
        (raw_extended(b"n\0junk", b"L"), {}, {"name": b"n"}),
        (raw_extended(b"", b"L"), {"name": b"short"}, {"name": b"short"}),
        (raw_extended(b"dir/\0", b"L"), {"kind": b"\0"}, {"name": b"dir/", "kind": tar.DIRECTORY}),
        (
            raw_extended(b"target\0", b"K") + raw_extended(b"name\0", b"L"),
            {"kind": b"2"},
            {"name": b"name", "target": b"target", "kind": tar.SYMLINK},
        ),
        # several together
        (extended((b"uid", b"7")) + raw_extended(b"name\0", b"L"), {}, {"name": b"name", "uid": 7}),
        (extended((b"uid", b"7")) + extended((b"gid", b"8")), {}, {"uid": 7, "gid": 8}),
        # what git writes, and what would be wrong for every file
        (extended((b"comment", b"0123abcd"), kind=b"g"), {}, {}),
        (extended((b"path", b"all"), kind=b"g"), {}, {}),
        (extended((b"uid", b"7")) + raw_extended(b"no records", b"g"), {}, {"uid": 7}),
    ],
)
def test_extension_headers_change_the_next_entry(
    extensions: bytes, fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    data = extensions + header(**fields) + header(b"next") + END
    assert [one for one, _ in contents(data)] == [PLAIN._replace(**expected), PLAIN._replace(name=b"next")]


def test_the_size_of_an_extended_header_counts() -> None:
    data = extended((b"size", b"700")) + header(size=3) + padded(b"a" * 700) + header(b"next") + END
    assert [(one.size, content) for one, content in contents(data)] == [(700, b"a" * 700), (0, b"")]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"no number\n", "the length of an extended header in the archive is b'no', no number"),
        (b"6a=b\n", "no number"),
        (b"7", "is malformed"),
        (b" a=b\n", "the length of an extended header in the archive is b'', no number"),
        (b"-6 a=b\n", "no number"),
        (b"0 a=b\n", "is malformed"),
        (b"5 a=b\n", "is malformed"),
        (b"7 a=b\n", "is malformed"),
        (b"60 a=b\n", "is malformed"),
        (b"6 =ab\n", "is malformed"),
        (b"6 abc\n", "is malformed"),
        (b"7 a\0=b\n", "is malformed"),
        (b"6 a=b\n\0", "no number"),
        (b"9" * 19 + b" a=b\n", "is malformed"),
        (b"9" * 20 + b" a=b\n", "no number"),
        (record(b"size", b"-1"), "size in the archive is b'-1', no number"),
        (record(b"size", b"1" * 20), "size in the archive"),
        (record(b"uid", b"0x10"), "uid in the archive is b'0x10', no number"),
        (record(b"gid", "１".encode()), "gid in the archive"),
        (record(b"uid", b"4294967295"), "'file': no such owner: 4294967295:0"),
        (record(b"mtime", b"--1"), "a time in the archive"),
        (record(b"mtime", b"now"), "a time in the archive is b'now', no number"),
        (record(b"mtime", b".5"), "a time in the archive"),
        (record(b"atime", b"1.-5"), "a time in the archive"),
        (record(b"atime", b"1e3"), "a time in the archive"),
        (record(b"path", b"a\0b"), r"'a\x00b': a name in the archive has a zero byte"),
        (record(b"linkpath", b"a\0b"), "a name in the archive has a zero byte"),
    ],
)
def test_hostile_extended_headers_are_refused(body: bytes, why: str) -> None:
    assert why in failure(raw_extended(body) + header()).replace("\\\\", "\\")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_extension_headers_are_bounded(kind: bytes) -> None:
    assert failure(header(kind=kind, size=tar.LARGEST_EXTENSION)) == "the archive is cut off"
    assert failure(header(kind=kind, size=tar.LARGEST_EXTENSION + 1)) == (
        "an extension header of the archive has 1048577 bytes"
    )


def test_extension_headers_of_one_entry_are_bounded_together() -> None:
    large = [extended((b"key %d" % number, b"x" * (600 << 10))) for number in range(2)]
    assert failure(b"".join(large) + header()) == "the extension headers of an entry of the archive are too many"
    assert failure((large[0] + header()) * 3) == ""


# ---- anything


def _header(**fields: bytes) -> bytes:
    return header(fields.pop("name"), fields.pop("kind"), fields.pop("size"), **fields)


octals = st.integers(0, 2000).map(lambda number: b"%o" % number)
numbers = octals | st.binary(max_size=8)
headers = st.fixed_dictionaries(
    {
        "name": st.binary(max_size=8),
        "kind": st.sampled_from([bytes([kind]) for kind in b"0123456\0007xgLKSV"]),
        "size": octals,
    },
    optional={
        **dict.fromkeys(["mode", "uid", "gid", "mtime", "major", "minor"], numbers),
        "prefix": st.binary(max_size=155),
        "magic": st.sampled_from([b"ustar", b"ustar ", b""]),
    },
).map(lambda fields: _header(**fields))
keys = st.sampled_from(
    [b"path", b"size", b"uid", b"mtime", b"SCHILY.xattr.a"]
    + [b"GNU.sparse." + key for key in (b"map", b"major", b"realsize", b"size", b"offset", b"numbytes", b"name")]
)
values = octals | st.sampled_from([b"1", b"0,5", b"0,5,7,1"]) | st.binary(max_size=5)
blocks = st.one_of(
    headers,
    st.lists(st.tuples(keys, values), max_size=4).map(lambda records: extended(*records)),
    st.sampled_from([padded(b"text"), padded(b"1\n0\n5\n"), padded(b"2\n0\n5\n9\n3\n")]),
    st.just(bytes(512)),
    st.binary(max_size=40).map(padded),
    st.binary(max_size=40),
)


@given(st.lists(blocks, max_size=8).map(b"".join), st.integers(1, 1500))
def test_any_archive_is_read_or_refused_however_it_arrives(data: bytes, portion: int) -> None:
    found, wrong = pieces(data, portion)
    assert (found, wrong) == pieces(data)
    for one, inside in found:
        assert all(offset >= 0 and offset + len(piece) <= one.size for offset, piece in inside)
        assert b"\0" not in one.name + one.target
        assert 0 <= one.uid < 0xFFFFFFFF > one.gid >= 0
