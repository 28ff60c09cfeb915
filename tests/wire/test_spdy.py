"""SPDY/3.1: against frames recorded from crictl (Go's spdystream), against itself, and against garbage."""

import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire import spdy
from podwright.wire.multiplexed import Accepted, Data, Ended, Event, Finished, Opened, Reset, Widened
from podwright.wire.spdy import FrameType, Session, Status

# What `crictl exec -i` sent for `sh -c 'cat; exit 7'` with "hello\n" on its stdin.
CRICTL = [
    "800300010000002a0000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a5a54945f04000000ffff",
    "800300010000001700000003000000000000c22e555c92929907000000ffff",
    "800300010000001900000005000000000000c22ac5565c92925f5a02000000ffff",
    "800300010000001500000007000000000000c229975a5404000000ffff",
    "000000030000000668656c6c6f0a0000000301000000",
]


def control(kind: int, payload: bytes, flags: int = 0, version: int = 3) -> bytes:
    return struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | len(payload)) + payload


def data_frame(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    return struct.pack(">II", stream, fin << 24 | len(data)) + data


class Peer:
    """The other end, frame by frame, with a compression of its own."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=spdy.DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=spdy.DICTIONARY)

    def block(self, *pairs: tuple[bytes, bytes], count: int | None = None) -> bytes:
        plain = struct.pack(">I", len(pairs) if count is None else count)
        for text in (text for pair in pairs for text in pair):
            plain += struct.pack(">I", len(text)) + text
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream: int, *pairs: tuple[bytes, bytes], flags: int = 0) -> bytes:
        return control(FrameType.SYN_STREAM, struct.pack(">IIH", stream, 0, 0) + self.block(*pairs), flags)

    def frames(self, session: Session) -> list[tuple[int | None, bytes]]:
        """What the session wants to send: control frames with their type, data frames with None and their header."""
        sent = b"".join(session.data_to_send())
        found: list[tuple[int | None, bytes]] = []
        while sent:
            first, second = struct.unpack_from(">II", sent)
            length = second & 0xFFFFFF
            payload, rest = sent[8 : 8 + length], sent[8 + length :]
            found.append((first & 0xFFFF, payload) if first >> 31 else (None, sent[:8] + payload))
            sent = rest
        return found


def server() -> tuple[Session, Peer]:
    return Session(client=False), Peer()


def opened(session: Session, peer: Peer, stream: int = 1, flags: int = 0) -> list[Event]:
    events = session.receive(peer.syn_stream(stream, (b"streamtype", b"stdin"), flags=flags))
    session.data_to_send()
    return events


def joined(events: list[Event]) -> list[Event]:
    """Neighbouring pieces of data are one: how they were cut means nothing."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, Data) and isinstance(last, Data) and last.stream == event.stream:
            found[-1] = Data(event.stream, last.data + event.data)
        else:
            found.append(event)
    return found


def test_dictionary_is_the_drafts() -> None:
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2  # as every SPDY/3 header block begins


@given(st.integers(min_value=1, max_value=500))
def test_recorded_session(size: int) -> None:
    recorded = bytes.fromhex("".join(CRICTL))
    session = Session(client=False)
    events: list[Event] = []
    for at in range(0, len(recorded), size):
        events += session.receive(recorded[at : at + size])
    assert joined(events) == [
        Opened(1, {"streamtype": "error"}),
        Opened(3, {"streamtype": "stdin"}),
        Opened(5, {"streamtype": "stdout"}),
        Opened(7, {"streamtype": "stderr"}),
        Data(3, b"hello\n"),
        Finished(3),
    ]


def test_windows_are_spoken_of_only_with_a_peer_that_keeps_some() -> None:
    session, peer = server()
    session.receive(peer.syn_stream(1))
    session.took(1, spdy.SESSION_WINDOW)
    assert session.data_to_send() == []
    session.receive(control(FrameType.WINDOW_UPDATE, struct.pack(">II", 0, 1)))
    session.receive(control(FrameType.WINDOW_UPDATE, struct.pack(">II", 0, 1)))
    assert [kind for kind, _ in peer.frames(session)] == [FrameType.SETTINGS, FrameType.WINDOW_UPDATE]
    session.took(1, 1)
    updates = [payload for kind, payload in peer.frames(session) if kind == FrameType.WINDOW_UPDATE]
    assert updates == [struct.pack(">II", stream, spdy.SESSION_WINDOW + 1) for stream in (0, 1)]


Exchange = Callable[[], list[Event]]


def both() -> tuple[Session, Session, Exchange, Exchange]:
    client, other = Session(client=True), Session(client=False)
    return (
        client,
        other,
        lambda: other.receive(b"".join(client.data_to_send())),
        lambda: client.receive(b"".join(other.data_to_send())),
    )


def test_a_conversation() -> None:
    client, other, to_server, to_client = both()
    stream = client.open({"streamtype": "data", "port": "80"})
    assert to_server() == [Widened(0), Widened(0), Opened(stream, {"streamtype": "data", "port": "80"})]
    other.accept(stream)
    assert to_client() == [Widened(0), Widened(0), Accepted(stream)]
    client.send(stream, b"ping")
    client.finish(stream)
    client.finish(stream)
    assert to_server() == [Data(stream, b"ping"), Finished(stream)]
    other.send(stream, b"pong")
    other.finish(stream)
    assert to_client() == [Data(stream, b"pong"), Finished(stream)]
    other.reset(stream)
    client.reset(stream)
    client.finish(stream)
    assert client.data_to_send() == other.data_to_send() == []  # it is over, and forgotten
    client.close()
    client.close()
    assert to_server() == [Ended("the peer said goodbye", failed=False)]
    assert other.receive(b"anything") == []
    other.close()
    assert other.data_to_send() == []


@given(st.lists(st.tuples(st.sampled_from([1, 3, 5]), st.binary(max_size=300)), max_size=20), st.randoms())
def test_data_arrives_as_it_was_sent(pieces: list[tuple[int, bytes]], random: object) -> None:
    client, other, to_server, _ = both()
    for _ in range(3):
        client.open({})
    to_server()
    for stream, data in pieces:
        client.send(stream, data)
    sent = b"".join(client.data_to_send())
    received: list[Event] = []
    while sent:
        size = random.randint(1, len(sent))  # type: ignore[attr-defined]
        received += other.receive(sent[:size])
        sent = sent[size:]
    for stream in (1, 3, 5):
        got = b"".join(e.data for e in received if isinstance(e, Data) and e.stream == stream)
        assert got == b"".join(data for to, data in pieces if to == stream)


def test_headers_go_both_ways_through_one_compression() -> None:
    client, other, to_server, _ = both()
    for number in range(50):
        headers = {"requestid": str(number), "x": "ä" * number}
        client.open(headers)
        assert to_server()[-1] == Opened(2 * number + 1, {k: v.encode().decode("latin-1") for k, v in headers.items()})
        other.accept(2 * number + 1)


def test_streams_that_are_open_one_way_only() -> None:
    session, peer = server()
    assert opened(session, peer, 1, flags=1)[1:] == [Finished(1)]
    assert session.receive(data_frame(1, b"more")) == [Reset(1, "data came after its end")]
    assert peer.frames(session) == [(FrameType.RST_STREAM, struct.pack(">II", 1, Status.STREAM_ALREADY_CLOSED))]
    assert opened(session, peer, 3, flags=2) == [Opened(3, {"streamtype": "stdin"})]
    session.finish(3)
    assert session.data_to_send() == []  # the peer takes nothing on it anyhow
    assert opened(session, peer, 5, flags=3)[1:] == [Finished(5)]
    assert session.room(5) == 0


def test_answers_and_headers_may_end_a_stream() -> None:
    client, peer = Session(client=True), Peer()
    first, second = client.open({}), client.open({})
    client.data_to_send()
    answer = struct.pack(">I", first) + peer.block()
    assert client.receive(control(FrameType.SYN_REPLY, answer, 1)) == [Accepted(first), Finished(first)]
    more = struct.pack(">I", second) + peer.block((b"a", b"b"))
    assert client.receive(control(FrameType.HEADERS, more)) == []
    more = struct.pack(">I", second) + peer.block()
    assert client.receive(control(FrameType.HEADERS, more, 1)) == [Finished(second)]
    for kind in (FrameType.SYN_REPLY, FrameType.HEADERS):
        unknown = struct.pack(">I", 99) + peer.block()
        assert client.receive(control(kind, unknown, 1)) == []


def test_pings_are_answered_but_not_their_answers() -> None:
    session, peer = server()
    session.receive(control(FrameType.PING, struct.pack(">I", 7)))
    assert peer.frames(session)[-1] == (FrameType.PING, struct.pack(">I", 7))
    session.receive(control(FrameType.PING, struct.pack(">I", 8)))
    assert peer.frames(session) == []
    client = Session(client=True)
    client.receive(control(FrameType.PING, struct.pack(">I", 8)))
    assert peer.frames(client)[-1] == (FrameType.PING, struct.pack(">I", 8))


def test_unknown_frames_are_ignored() -> None:
    session, _ = server()
    assert session.receive(control(77, b"whatever")) == []


def test_a_reset_says_why() -> None:
    session, peer = server()
    for stream, status, reason in ((1, 5, "cancel"), (3, 77, "status 77")):
        opened(session, peer, stream)
        events = session.receive(control(FrameType.RST_STREAM, struct.pack(">II", stream, status)))
        assert events == [Reset(stream, f"the peer has reset the stream ({reason})")]
        assert session.receive(control(FrameType.RST_STREAM, struct.pack(">II", stream, status))) == []


def test_data_for_a_stream_that_we_have_reset_is_dropped() -> None:
    session, peer = server()
    opened(session, peer)
    session.reset(1)
    assert peer.frames(session) == [(FrameType.RST_STREAM, struct.pack(">II", 1, Status.CANCEL))]
    assert session.receive(data_frame(1, b"late") + data_frame(1, b"", fin=True)) == []
    assert session.data_to_send() == []


def test_too_many_streams_are_refused() -> None:
    session, peer = server()
    for number in range(spdy.MOST_STREAMS):
        opened(session, peer, 2 * number + 1)
    last = 2 * spdy.MOST_STREAMS + 1
    assert session.receive(peer.syn_stream(last)) == []
    assert peer.frames(session) == [(FrameType.RST_STREAM, struct.pack(">II", last, Status.REFUSED_STREAM))]


# windows


def test_a_peer_without_windows_is_sent_everything() -> None:
    session, peer = server()
    opened(session, peer)
    for _ in range(100):
        session.send(1, b"x" * session.room(1))
    assert session.room(1) == spdy.LARGEST_DATA_FRAME


def test_a_peer_with_windows_is_waited_for() -> None:
    session, peer = server()
    assert session.receive(control(FrameType.SETTINGS, struct.pack(">III", 1, 1, 99))) == []
    settings = struct.pack(">7I", 3, 1, 99, 7, 1000, 7, 2000)
    assert session.receive(control(FrameType.SETTINGS, settings)) == [Widened(0)]
    opened(session, peer)
    session.send(1, b"x" * session.room(1))
    assert session.room(1) == 0
    assert session.receive(control(FrameType.WINDOW_UPDATE, struct.pack(">II", 1, 500))) == [Widened(1)]
    assert session.room(1) == 500
    assert session.receive(control(FrameType.SETTINGS, struct.pack(">III", 1, 7, 100))) == [Widened(0)]
    assert session.room(1) == 0  # 900 less, which may make a window negative
    assert session.receive(control(FrameType.WINDOW_UPDATE, struct.pack(">II", 1, 600))) == [Widened(1)]
    assert session.room(1) == 200
    assert session.receive(control(FrameType.WINDOW_UPDATE, struct.pack(">II", 99, 5))) == [Widened(99)]


def test_the_windows_of_all_streams_share_the_sessions() -> None:
    session, peer = server()
    session.receive(control(FrameType.SETTINGS, struct.pack(">III", 1, 7, 1 << 20)))
    opened(session, peer)
    sent = 0
    while room := session.room(1):
        session.send(1, b"x" * room)
        sent += room
    assert sent == spdy.INITIAL_WINDOW
    session.receive(control(FrameType.WINDOW_UPDATE, struct.pack(">II", 0, 10)))
    assert session.room(1) == 10


def test_our_windows_are_renewed_when_data_is_taken_up() -> None:
    session, peer = server()
    session.receive(control(FrameType.SETTINGS, struct.pack(">III", 1, 7, 1000)))
    opened(session, peer)
    half = spdy.STREAM_WINDOW // 2
    session.took(1, half - 1)
    assert peer.frames(session) == []
    session.took(1, 1)
    assert peer.frames(session) == [(FrameType.WINDOW_UPDATE, struct.pack(">II", 1, half))]
    session.receive(data_frame(1, b"", fin=True))
    session.took(1, spdy.SESSION_WINDOW // 2 - half)
    assert peer.frames(session) == [(FrameType.WINDOW_UPDATE, struct.pack(">II", 0, spdy.SESSION_WINDOW // 2))]


def test_a_client_renews_no_windows_where_the_server_keeps_none() -> None:
    """containerd closes with them unread, and the kernel then throws away what is on its way to the client."""
    session, peer = Session(client=True), Peer()
    stream = session.open({"streamtype": "stdout"})
    peer.frames(session)
    session.took(stream, spdy.SESSION_WINDOW)
    assert peer.frames(session) == []
    session.receive(control(FrameType.WINDOW_UPDATE, struct.pack(">II", stream, 1)))
    session.took(stream, spdy.STREAM_WINDOW // 2)
    assert peer.frames(session) == [
        (FrameType.WINDOW_UPDATE, struct.pack(">II", stream, spdy.STREAM_WINDOW // 2)),
    ]


def test_no_window_is_larger_than_a_number_can_say() -> None:
    session, peer = server()
    opened(session, peer)
    largest = struct.pack(">II", 1, 0x7FFFFFFF)
    assert session.receive(control(FrameType.WINDOW_UPDATE, largest)) == [Reset(1, "its window is larger than 2 GiB")]
    assert peer.frames(session)[2:] == [(FrameType.RST_STREAM, struct.pack(">II", 1, Status.FLOW_CONTROL_ERROR))]
    failed(session, control(FrameType.WINDOW_UPDATE, struct.pack(">II", 0, 0x7FFFFFFF)), "window")


# what makes no sense


def failed(session: Session, data: bytes, words: str) -> None:
    session.data_to_send()
    (event,) = [event for event in session.receive(data) if isinstance(event, Ended)]
    assert event.failed
    assert words in event.reason
    kind, payload = Peer().frames(session)[-1]
    assert kind == FrameType.GOAWAY
    assert payload[4:] == struct.pack(">I", 1)  # PROTOCOL_ERROR
    assert session.receive(data) == []


def bomb() -> bytes:
    peer = Peer()
    return peer.syn_stream(1, (b"a", b"x" * (spdy.LARGEST_HEADERS + 1)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (control(FrameType.SYN_STREAM, b"x" * (spdy.LARGEST_CONTROL_FRAME + 1)), "a control frame has"),
        (control(FrameType.PING, b"1234", version=2), "version 2"),
        (control(FrameType.SYN_STREAM, b"short"), "only 5 bytes"),
        (control(FrameType.SYN_STREAM, bytes(10) + Peer().block()), "stream 0"),
        (Peer().syn_stream(2), "cannot open stream 2"),
        (control(FrameType.SYN_STREAM, struct.pack(">IIH", 1, 0, 0) + b"garbage"), "cannot be decompressed"),
        (control(FrameType.SYN_STREAM, struct.pack(">IIH", 1, 0, 0) + zlib.compress(b"abc")), "cut off"),
        (bomb(), "headers have more than"),
        (
            control(FrameType.SYN_STREAM, struct.pack(">IIH", 1, 0, 0) + Peer().block((b"a", b"b"), count=2)),
            "cut off",
        ),
        (control(FrameType.RST_STREAM, b"123"), "RST_STREAM frame has 3"),
        (control(FrameType.GOAWAY, b""), "GOAWAY frame has 0"),
        (control(FrameType.WINDOW_UPDATE, b"123456789"), "WINDOW_UPDATE frame has 9"),
        (control(FrameType.PING, b"12345"), "PING frame has 5"),
        (control(FrameType.SETTINGS, b"12"), "SETTINGS frame has 2"),
        (control(FrameType.SETTINGS, struct.pack(">I", 1000)), "SETTINGS frame has 4"),
        (data_frame(1, b"x"), "never opened"),
        (data_frame(0, b"x"), "never opened"),
    ],
)
def test_nonsense_ends_the_session(data: bytes, words: str) -> None:
    failed(Session(client=False), data, words)


def test_streams_are_opened_in_order() -> None:
    session, peer = server()
    opened(session, peer, 5)
    failed(session, peer.syn_stream(3), "cannot open stream 3 after 5")


def test_a_client_is_offered_even_streams() -> None:
    client, peer = Session(client=True), Peer()
    assert client.receive(peer.syn_stream(2)) == [Opened(2, {})]
    failed(client, peer.syn_stream(5), "cannot open stream 5")


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_garbage_never_raises(chunks: list[bytes]) -> None:
    session, peer = server()
    session.receive(peer.syn_stream(1))
    for chunk in chunks:
        session.receive(chunk)
        b"".join(session.data_to_send())


FRAMES = st.builds(
    control,
    st.sampled_from([*FrameType, 5, 10]),
    st.one_of(
        st.binary(max_size=30),
        st.builds(lambda *numbers: struct.pack(">II", *numbers), *[st.sampled_from([0, 1, 2, 3, 1 << 31])] * 2),
        st.builds(lambda stream: struct.pack(">IIH", stream, 0, 0) + Peer().block(), st.sampled_from([1, 3])),
    ),
    st.integers(0, 3),
)
DATA = st.builds(data_frame, st.sampled_from([0, 1, 3, 5]), st.binary(max_size=20), fin=st.booleans())


@given(st.lists(st.one_of(FRAMES, DATA), max_size=12), st.integers(1, 64))
def test_frames_in_any_order_never_raise(frames: list[bytes], size: int) -> None:
    session, peer = server()
    data = peer.syn_stream(1) + b"".join(frames)
    streams: set[int] = set()
    for at in range(0, len(data), size):
        for event in session.receive(data[at : at + size]):
            if isinstance(event, Opened):
                streams.add(event.stream)
                session.accept(event.stream)
            elif isinstance(event, Data):
                assert event.stream in streams
                session.took(event.stream, len(event.data))
    b"".join(session.data_to_send())
