"""NRI's multiplexer: pieces of two connections, however the bytes are cut."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.nri import PLUGIN, RUNTIME, MultiplexError, Reader, encode

messages = st.lists(
    st.tuples(st.sampled_from([PLUGIN, RUNTIME]), st.binary(max_size=200) | st.binary(min_size=4000, max_size=9000)),
    max_size=4,
)


@given(messages, st.data())
def test_what_was_sent_comes_out_however_it_is_cut(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(encode(*message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = Reader()
    got = {PLUGIN: b"", RUNTIME: b""}
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for connection, part in reader.feed(stream[begin:end]):
            got[connection] += part
    for connection, received in got.items():
        assert received == b"".join(message for number, message in sent if number == connection)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8192, 8193, 100_000])
def test_plugins_in_go_have_room_for_each_frame(size: int) -> None:
    """bufio.Reader, 4096 bytes: it reads into its own buffer, or past it into a larger one of just what is missing."""
    sent = bytes(size)
    lengths = [len(part) for _, part in Reader().feed(encode(PLUGIN, sent))]
    left = size
    for length in lengths:
        assert length <= max(4096, left if left < size else 0)
        left -= length
    assert left == 0


def test_a_connection_that_there_is_not_is_passed_over() -> None:
    stream = encode(3, b"lost") + encode(0, b"reserved") + encode(RUNTIME, b"kept")
    assert list(Reader().feed(stream)) == [(RUNTIME, b"kept")]


def test_a_frame_that_is_too_large() -> None:
    with pytest.raises(MultiplexError, match="more than"):
        list(Reader().feed(struct.pack(">II", PLUGIN, (4 << 20) + 11)))
