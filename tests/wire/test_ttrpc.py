"""ttrpc: frames, however the bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.ttrpc import LARGEST, REQUEST, RESPONSE, Frame, Reader, TtrpcError, encode

frames = st.builds(
    Frame, stream=st.integers(0, 2**32 - 1), kind=st.sampled_from([REQUEST, RESPONSE]), message=st.binary(max_size=300)
)


def test_the_bytes_of_a_request() -> None:
    """As PROTOCOL.md draws them: length, stream, type, flags."""
    assert encode(Frame(3, REQUEST, b"abc")) == b"\0\0\0\3\0\0\0\3\1\0abc"


@given(st.lists(frames, max_size=5), st.data())
def test_what_was_sent_comes_out_however_it_is_cut(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = Reader()
    got = [
        frame
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for frame in reader.feed(stream[begin:end])
    ]
    assert got == sent


def test_messages_that_are_too_large() -> None:
    with pytest.raises(TtrpcError, match="larger than"):
        encode(Frame(1, REQUEST, bytes(LARGEST + 1)))
    with pytest.raises(TtrpcError, match="more than"):
        list(Reader().feed((LARGEST + 1).to_bytes(4, "big") + bytes(6)))
    (largest,) = Reader().feed(encode(Frame(1, RESPONSE, bytes(LARGEST))))
    assert len(largest.message) == LARGEST


@pytest.mark.parametrize("tail", [b"\3\0", b"\0\0", b"\1\1", b"\2\4"])
def test_frames_that_no_unary_call_has(tail: bytes) -> None:
    with pytest.raises(TtrpcError, match="no unary call has"):
        list(Reader().feed(bytes(8) + tail))
