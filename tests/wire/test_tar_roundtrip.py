"""Tar archives that Python's tarfile writes, in each of its formats, are read as they were meant."""

import io
import tarfile
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import tar
from podwright.wire.tar import Entry
from support.tarballs import contents

KINDS = {
    tarfile.REGTYPE: tar.FILE,
    tarfile.AREGTYPE: tar.FILE,
    tarfile.CONTTYPE: tar.FILE,
    tarfile.DIRTYPE: tar.DIRECTORY,
    tarfile.LNKTYPE: tar.LINK,
    tarfile.SYMTYPE: tar.SYMLINK,
    tarfile.CHRTYPE: tar.CHARACTER,
    tarfile.BLKTYPE: tar.BLOCK_DEVICE,
    tarfile.FIFOTYPE: tar.FIFO,
}
_XATTR = "SCHILY.xattr."


class Limits(NamedTuple):
    """What a format can say."""

    format: int
    owner: int
    name: int
    """Bytes; longer ones may or may not fit."""
    times: st.SearchStrategy[float]


USTAR = Limits(tarfile.USTAR_FORMAT, 0o7777777, 100, st.integers(0, 0o77777777777))
GNU = Limits(tarfile.GNU_FORMAT, 0xFFFFFFFE, 400, st.integers(-(1 << 60), 1 << 60))
PAX = Limits(
    tarfile.PAX_FORMAT,
    0xFFFFFFFE,
    400,
    st.integers(-(1 << 40), 1 << 40) | st.integers(-(1 << 40), 1 << 40).map(lambda number: number / 4),
)


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def names(longest: int) -> st.SearchStrategy[bytes]:
    """Short and long, UTF-8 or not; with slashes, but not at the end."""
    several = st.binary(min_size=1, max_size=20) | st.text(min_size=1, max_size=5).map(
        lambda text: text.encode(errors="replace")
    )
    some = st.builds(lambda text, times: text * times, several, st.integers(1, 20))
    return some.map(lambda name: name.replace(b"\0", b"/")[:longest].rstrip(b"/") or b"a")


@st.composite
def members(draw: st.DrawFn, limits: Limits) -> tuple[tarfile.TarInfo, bytes, Entry]:
    """A member, its content, and what is to be read."""
    member = tarfile.TarInfo(_text(draw(names(limits.name))))
    member.type = draw(st.sampled_from(list(KINDS)))
    member.mode = draw(st.integers(0, 0o7777))
    member.uid, member.gid = draw(st.integers(0, limits.owner)), draw(st.integers(0, limits.owner))
    member.mtime = draw(limits.times)
    content = draw(st.binary(max_size=1300)) if KINDS[member.type] == tar.FILE else b""
    member.size = len(content)
    if member.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
        member.linkname = _text(draw(names(limits.name)))
    if member.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        member.devmajor, member.devminor = draw(st.integers(0, 4095)), draw(st.integers(0, (1 << 20) - 1))
    xattrs: dict[bytes, bytes] = {}
    if limits is PAX:
        keys = st.text("abc.é", min_size=1, max_size=9).map(str.encode)
        xattrs = draw(st.dictionaries(keys, st.binary(max_size=30), max_size=2))
    member.pax_headers = {_XATTR + _text(key): _text(value) for key, value in xattrs.items()}
    name = member.name.encode(errors="surrogateescape")
    return member, content, Entry(
        name=name + b"/" if member.isdir() else name,
        kind=KINDS[member.type],
        mode=member.mode,
        uid=member.uid,
        gid=member.gid,
        size=len(content),
        mtime_ns=int(member.mtime * 4) * (10**9 // 4),
        atime_ns=None,
        target=member.linkname.encode(errors="surrogateescape"),
        major=member.devmajor,
        minor=member.devminor,
        xattrs=xattrs,
    )  # fmt: skip


def _check(limits: Limits, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(members(limits), max_size=4))
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=limits.format, errors="surrogateescape") as archive:
        for member, content, _ in chosen:
            archive.addfile(member, io.BytesIO(content))
    assert contents(output.getvalue(), data.draw(st.integers(1, 3000))) == [
        (expected, content) for _, content, expected in chosen
    ]


@given(st.data())
def test_ustar(data: st.DataObject) -> None:
    _check(USTAR, data)


@given(st.data())
def test_gnu(data: st.DataObject) -> None:
    _check(GNU, data)


@given(st.data())
def test_pax(data: st.DataObject) -> None:
    _check(PAX, data)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("make", [lambda k: "d" * k + "/" + "n" * 100, lambda k: "d/" * (k // 2) + "n" * k])
def test_names_around_the_length_of_the_fields(form: int, make: Callable[[int], str]) -> None:
    whole = [make(k) for k in (1, 50, 98, 99, 100, 101, 153, 154, 155, 156, 257)]
    output, fitting = io.BytesIO(), []
    with tarfile.open(fileobj=output, mode="w", format=form) as archive:
        for name in whole:
            try:
                archive.addfile(tarfile.TarInfo(name))
            except ValueError:
                assert form == tarfile.USTAR_FORMAT
                continue
            fitting.append(name)
    assert [entry.name.decode() for entry, _ in contents(output.getvalue())] == fitting
    assert len(fitting) >= 4
