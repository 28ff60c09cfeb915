"""The CRI log format: examples, and properties of the reader."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.cri_log import (
    LONGEST_LINE,
    Line,
    LogReader,
    Malformed,
    Record,
    Stream,
    format_time,
    parse,
    parse_time,
)

T = "2026-11-24T16:16:58.123456789Z"
T_NS = 1795537018123456789


def test_line_is_read() -> None:
    assert parse(f"{T} stdout F a line, with  spaces ".encode()) == Record(
        T_NS, "stdout", True, b"a line, with  spaces "
    )
    assert parse(f"{T} stderr P ".encode()) == Record(T_NS, "stderr", False, b"")
    assert parse(f"{T} stdout F".encode()) == Record(T_NS, "stdout", True, b"")
    assert parse(f"{T} stdout F:later:tags x".encode()) == Record(T_NS, "stdout", True, b"x")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text",
        f"{T} stdin F x".encode(),
        f"{T} stdout X x".encode(),
        f"{T} stdout".encode(),
        b"2026-11-24 stdout F x",
        b"\xff\xfe stdout F x",
    ],
)
def test_what_is_no_line_is_kept_as_it_is(raw: bytes) -> None:
    assert parse(raw) == Malformed(raw)


def test_pieces_are_joined_for_each_stream() -> None:
    reader = LogReader()
    assert reader.receive(f"{T} stdout P one \n{T} stderr F else\n".encode()) == [Line(T_NS, "stderr", b"else")]
    assert reader.receive(f"{T} stdout P two \n".encode()) == []
    assert reader.receive(f"{T} stdout F three\n".encode()) == [Line(T_NS, "stdout", b"one two three")]
    assert reader.finish() == []


def test_joined_line_has_the_time_of_its_first_piece() -> None:
    reader = LogReader()
    reader.receive(b"2026-11-24T16:16:58Z stdout P a\n")
    assert reader.receive(b"2026-11-24T16:16:59Z stdout F b\n") == [Line(T_NS // 10**9 * 10**9, "stdout", b"ab")]


def test_blank_lines_are_nothing_and_nonsense_is_shown() -> None:
    assert LogReader().receive(b"\n\nnonsense\n") == [Malformed(b"nonsense")]


def test_the_end_gives_up_what_was_begun() -> None:
    reader = LogReader()
    reader.receive(f"{T} stdout P begun\n2026-11-".encode())
    assert reader.finish() == [Line(T_NS, "stdout", b"begun"), Malformed(b"2026-11-")]
    assert reader.finish() == []


def test_a_line_without_end_comes_out_in_parts() -> None:
    reader, piece = LogReader(), b"x" * (LONGEST_LINE // 2)
    lines = [line for _ in range(4) for line in reader.receive(f"{T} stdout P ".encode() + piece + b"\n")]
    assert lines == [Line(T_NS, "stdout", piece + piece)] * 2
    assert reader.finish() == []


def test_what_never_becomes_a_line_is_not_kept() -> None:
    reader, piece = LogReader(), b"x" * (LONGEST_LINE // 2)
    assert [line for _ in range(3) for line in reader.receive(piece)] == [Malformed(3 * piece)]
    assert reader.receive(f"\n{T} stdout F text\n".encode()) == [Line(T_NS, "stdout", b"text")]


texts = st.binary(max_size=30).filter(lambda text: b"\n" not in text)
lines = st.builds(
    Line,
    st.integers(min_value=0, max_value=4 * 10**18),
    st.sampled_from(["stdout", "stderr"]),
    texts,
)


def _written(line: Line, cuts: list[int]) -> bytes:
    """The line as a runtime writes it, in pieces that end at `cuts`."""
    ends = sorted({min(cut, len(line.text)) for cut in cuts} | {len(line.text)})
    starts = [0, *ends[:-1]]
    return b"".join(
        f"{format_time(line.time_ns)} {line.stream} {'F' if end == ends[-1] else 'P'} ".encode()
        + line.text[start:end]
        + b"\n"
        for start, end in zip(starts, ends, strict=True)
    )


@given(st.lists(st.tuples(lines, st.lists(st.integers(0, 30), max_size=3)), max_size=8), st.integers(1, 40))
def test_what_was_written_is_read_however_it_arrives(written: list[tuple[Line, list[int]]], portion: int) -> None:
    data = b"".join(_written(line, cuts) for line, cuts in written)
    reader, read = LogReader(), []
    for start in range(0, len(data), portion):
        read += reader.receive(data[start : start + portion])
    assert read + reader.finish() == [line for line, _ in written]


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    reader = LogReader()
    for item in reader.receive(data) + reader.finish():
        assert isinstance(item, Line | Malformed)


@given(st.integers(min_value=0, max_value=4 * 10**18))
def test_times_survive(time_ns: int) -> None:
    assert parse_time(format_time(time_ns)) == time_ns


@given(
    st.datetimes(
        min_value=dt.datetime(1970, 1, 2),  # noqa: DTZ001  the strategy adds the zone
        timezones=st.just(dt.UTC),
    )
)
def test_times_are_what_the_library_says(moment: dt.datetime) -> None:
    expected = (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert parse_time(moment.isoformat()) == expected * 1000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01t00:00:10z", 10),
        ("1970-01-01T01:00:10+01:00", 10),
        ("1969-12-31T22:30:10-01:30", 10),
    ],
)
def test_zones(text: str, seconds: int) -> None:
    assert parse_time(text) == seconds * 10**9


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "1970-01-01", "1970-01-01T00:00:10", "1970-13-01T00:00:00Z", "1970-01-32T00:00:00Z"),
        *("1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z", "1970-01-01T00:00:61Z", "1970-01-01T00:00:00.Z"),
        *("1970-01-01T00:00:00+1:00", "１９７０-01-01T00:00:00Z", "1970-01-00T00:00:00Z"),
        "0000-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert parse_time(text) is None


def test_streams_are_the_two() -> None:
    names: tuple[Stream, ...] = ("stdout", "stderr")
    assert all(isinstance(parse(f"{T} {name} F x".encode()), Record) for name in names)
