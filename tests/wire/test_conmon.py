"""conmon's packets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import conmon


@given(st.binary(max_size=conmon.LARGEST_OUTPUT - 1))
def test_output_says_where_it_was_written_to(data: bytes) -> None:
    assert conmon.split_output(b"\x02" + data) == ("stdout", data)
    assert conmon.split_output(b"\x03" + data) == ("stderr", data)


@pytest.mark.parametrize("packet", [b"", b"\x01x", b"\x00", b"\xffx"])
def test_other_packets_are_none(packet: bytes) -> None:
    with pytest.raises(ValueError, match="conmon sent a packet"):
        conmon.split_output(packet)
