"""Channels over WebSocket: what clients of every version send, and what makes no sense."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from podwright.multiplex import websocket
from podwright.multiplex.websocket import Channels, Tunnel
from podwright.wire import spdy
from podwright.wire.multiplexed import Data, Ended, Event, Finished

# What `crictl exec --transport websocket -i` sent: "hello\n" for channel 0, then the end of channel 0.
CRICTL = "8287a7ca90a2a7a2f5cecba59a82826d3e0466923e"


def server(*, text: bool = False, can_close: bool = True) -> Channels:
    return Channels(client=False, readable=[0, 4], base64=text, can_close=can_close)


def sent(*payloads: bytes, opcode: Opcode = Opcode.BINARY) -> bytes:
    """One message in as many frames, as a client sends it."""
    frames = [
        Frame(opcode if index == 0 else Opcode.CONT, payload, index == len(payloads) - 1)
        for index, payload in enumerate(payloads)
    ]
    return b"".join(frame.serialize(mask=True) for frame in frames)


def answered(engine: Channels | Tunnel) -> list[Frame]:
    client = Protocol(Side.CLIENT)
    client.receive_data(b"".join(engine.data_to_send()))
    return [frame for frame in client.events_received() if isinstance(frame, Frame)]


def failed(events: list[Event], words: str) -> None:
    (event,) = events
    assert isinstance(event, Ended)
    assert event.failed
    assert words in event.reason


@pytest.mark.parametrize("size", [1, 7, 100])
def test_recorded_session(size: int) -> None:
    recorded, engine = bytes.fromhex(CRICTL), server()
    events = [event for at in range(0, len(recorded), size) for event in engine.receive(recorded[at : at + size])]
    assert events == [Data(0, b"hello\n"), Finished(0)]


def test_output_as_kubectl_reads_it() -> None:
    engine = server()
    engine.send(1, b"hello\n")
    engine.finish(1)  # clients would take a message about it for garbage
    engine.close()
    engine.close()
    engine.send(1, b"too late")
    assert b"".join(engine.data_to_send()).hex() == "82070168656c6c6f0a" + "880203e8"


def test_output_in_base64() -> None:
    engine = server(text=True)
    engine.send(1, b"hello\n")
    (frame,) = answered(engine)
    assert (frame.opcode, bytes(frame.data)) == (Opcode.TEXT, b"1aGVsbG8K")


@given(st.binary(min_size=1, max_size=300), st.lists(st.integers(0, 300)))
def test_a_message_in_several_frames(data: bytes, cuts: list[int]) -> None:
    edges = sorted({1, *(cut + 1 for cut in cuts if cut < len(data))})
    for text in (False, True):
        message = b"0" + base64.b64encode(data) if text else b"\0" + data
        pieces = [message[a:b] for a, b in zip([0, *edges], [*edges, None], strict=True)]
        events = server(text=text).receive(sent(*pieces, opcode=Opcode.TEXT if text else Opcode.BINARY))
        assert b"".join(event.data for event in events if isinstance(event, Data)) == data
        assert {event.stream for event in events if isinstance(event, Data)} == {0}


def test_messages_that_say_nothing_are_ignored() -> None:
    engine = server()
    assert engine.receive(sent(b"") + sent(b"\0") + sent(b"\x01to stdout") + sent(b"\x63?") + sent(b"\xff\x01")) == []
    assert engine.receive(sent(b"\0x")) == [Data(0, b"x")]


def test_nothing_comes_after_the_end_of_a_channel() -> None:
    engine = server()
    assert engine.receive(sent(b"\xff\x00") + sent(b"\xff\x00") + sent(b"\0late")) == [Finished(0)]


def test_before_version_5_there_is_no_end() -> None:
    assert server(can_close=False).receive(sent(b"\xff\x00")) == []


def test_pings_are_answered() -> None:
    engine = server()
    assert engine.receive(Frame(Opcode.PING, b"abc").serialize(mask=True)) == []
    (frame,) = answered(engine)
    assert (frame.opcode, frame.data) == (Opcode.PONG, b"abc")


def test_the_client_says_goodbye() -> None:
    engine = server()
    (event,) = engine.receive(Frame(Opcode.CLOSE, b"\x03\xe8bye").serialize(mask=True))
    assert isinstance(event, Ended)
    assert not event.failed
    assert "bye" in event.reason
    assert engine.receive(sent(b"\0x")) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (sent(b"\xff"), "channel to close"),
        (sent(b"\xff\x00\x00"), "channel to close"),
        (sent(b"", b"\0x"), "begins with an empty frame"),
        (Frame(Opcode.CONT, b"x").serialize(mask=True), "unexpected continuation"),
        (Frame(Opcode.BINARY, b"\0x").serialize(mask=False), "incorrect masking"),
        (b"\x87\x80", "invalid opcode"),
        (b"\xf2\x80", "reserved bits"),
        (b"\x82\xff" + (websocket.LARGEST_MESSAGE + 1).to_bytes(8, "big"), "exceeds limit"),
    ],
)
def test_nonsense_ends_the_connection(data: bytes, words: str) -> None:
    engine = server()
    failed(engine.receive(data + b"\0" * 4), words)
    assert [frame.opcode for frame in answered(engine)] == [Opcode.CLOSE]
    assert engine.receive(sent(b"\0x")) == []


@pytest.mark.parametrize("text", [b"0!", b"0a", b"0YQ=a"])
def test_what_is_not_base64_ends_the_connection(text: bytes) -> None:
    failed(server(text=True).receive(sent(text, opcode=Opcode.TEXT)), "not base64")


@given(st.lists(st.binary(max_size=50)))
def test_garbage_never_raises(chunks: list[bytes]) -> None:
    for engine in (server(), server(text=True), Tunnel(spdy.Session(client=False), client=False)):
        for chunk in chunks:
            engine.receive(chunk)
            engine.data_to_send()


@given(st.lists(st.binary(max_size=50)))
def test_garbage_in_messages_never_raises(chunks: list[bytes]) -> None:
    for engine in (server(), server(text=True), Tunnel(spdy.Session(client=False), client=False)):
        for chunk in chunks:
            engine.receive(sent(chunk))
            engine.data_to_send()


def test_garbage_in_a_tunnel_ends_it() -> None:
    engine = Tunnel(spdy.Session(client=False), client=False)
    failed(engine.receive(sent(b"\x80\x02\x00\x01" + bytes(4))), "version 2")
    (frame,) = answered(engine)
    assert bytes(frame.data)[:4] == b"\x80\x03\x00\x07"  # GOAWAY
