"""Port-forward: which streams belong together."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import port_forward
from podwright.wire.port_forward import BadStream, Pair, Pairs


def headers(kind: str, port: str = "80", request: str | None = "0") -> dict[str, str]:
    return {"streamtype": kind, "port": port, **({} if request is None else {"requestid": request})}


def test_the_streams_of_a_request_are_a_pair() -> None:
    pairs = Pairs()
    assert pairs.add(1, headers("error", request="0")) is None
    assert pairs.add(3, headers("error", request="1")) is None
    assert pairs.add(5, headers("data", request="1")) == Pair(port=80, data=5, error=3)
    assert pairs.add(7, headers("data", request="0")) == Pair(port=80, data=7, error=1)
    assert pairs.add(9, headers("data", request="0")) is None  # a request of its own, by now
    assert pairs.add(11, headers("error", request="0")) == Pair(port=80, data=9, error=11)


def test_old_clients_name_no_request() -> None:
    pairs = Pairs()
    assert pairs.add(1, headers("error", request=None)) is None
    assert pairs.add(3, headers("data", request=None)) == Pair(port=80, data=3, error=1)
    assert pairs.add(7, headers("data", request="")) is None
    assert pairs.add(5, headers("error", request="")) == Pair(port=80, data=7, error=5)


def test_the_data_streams_port_counts() -> None:
    pairs = Pairs()
    pairs.add(1, headers("error", port="1"))
    assert pairs.add(3, headers("data", port="2")) == Pair(port=2, data=3, error=1)
    pairs.add(5, headers("data", port="3"))
    assert pairs.add(7, headers("error", port="4")) == Pair(port=3, data=5, error=7)


def test_a_stream_that_stays_alone_can_be_dropped() -> None:
    pairs = Pairs()
    assert not pairs.drop(1)
    pairs.add(1, headers("error", request="a"))
    pairs.add(3, headers("error", request="b"))
    assert pairs.drop(3)
    assert not pairs.drop(3)
    assert pairs.add(5, headers("data", request="a")) == Pair(port=80, data=5, error=1)


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "http", "8 0", "¹", "1e3", "1" * 5000])
def test_ports_that_are_none(port: str) -> None:
    with pytest.raises(BadStream, match="is no port"):
        Pairs().add(1, headers("data", port))


def test_streams_that_are_neither() -> None:
    pairs = Pairs()
    for kind in ("stdin", ""):
        with pytest.raises(BadStream, match="no type of a stream"):
            pairs.add(1, headers(kind))
    pairs.add(1, headers("data"))
    with pytest.raises(BadStream, match="request 0 has two streams for data"):
        pairs.add(3, headers("data"))


def test_not_too_many_wait() -> None:
    pairs = Pairs()
    for number in range(port_forward.MOST_WAITING):
        assert pairs.add(number, headers("data", request=f"{number}")) is None
    with pytest.raises(BadStream, match="streams wait"):
        pairs.add(5000, headers("data", request="5000"))
    assert pairs.add(5001, headers("error", request="7")) == Pair(port=80, data=7, error=5001)


@given(st.dictionaries(st.sampled_from(["streamtype", "port", "requestid"]), st.text(max_size=10)))
def test_any_headers_are_a_stream_or_refused(given_headers: dict[str, str]) -> None:
    with contextlib.suppress(BadStream):
        assert Pairs().add(1, given_headers) is None


def test_what_a_channel_begins_with() -> None:
    assert port_forward.port_to_bytes(8080) == bytes([0x90, 0x1F])
