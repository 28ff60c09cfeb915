"""Connections that carry streams: both ends of each kind, over a real socket."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

from podwright.multiplex import connection as connection_module
from podwright.multiplex.connection import Connection, Disconnected, Engine, Stream
from podwright.multiplex.websocket import Channels, Tunnel
from podwright.wire import spdy

MIB = 1 << 20


@dataclass
class Ends:
    """The two ends of one connection."""

    client: Connection
    server: Connection
    open: Callable[[], Awaitable[tuple[Stream, Stream]]]
    """Gives the two ends of one stream."""


@dataclass
class _Accepting(asyncio.Protocol):
    transports: asyncio.Queue[asyncio.Transport] = field(default_factory=asyncio.Queue)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transports.put_nowait(transport)


@contextlib.asynccontextmanager
async def _transports() -> AsyncIterator[tuple[asyncio.Transport, asyncio.Transport]]:
    loop = asyncio.get_running_loop()
    accepting = _Accepting()
    server = await loop.create_server(lambda: accepting, "127.0.0.1", 0)
    ours, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    theirs = await accepting.transports.get()
    try:
        yield ours, theirs
    finally:
        ours.abort()
        theirs.abort()
        server.close()


@contextlib.asynccontextmanager
async def _spdy(*, tunnel: bool = False, idle_seconds: float | None = None) -> AsyncIterator[Ends]:
    opened: asyncio.Queue[Stream] = asyncio.Queue()
    session = spdy.Session(client=True)
    ours: Engine = Tunnel(session, client=True) if tunnel else session
    theirs: Engine = spdy.Session(client=False)
    if tunnel:
        theirs = Tunnel(spdy.Session(client=False), client=False)
    async with _transports() as (client_transport, server_transport):
        client = Connection(ours)
        server = Connection(theirs, opened=opened.put_nowait, idle_seconds=idle_seconds)
        client.start(client_transport)
        server.start(server_transport)

        async def open_stream() -> tuple[Stream, Stream]:
            mine = client.add(session.open({"n": "1"}), {"n": "1"})
            other = await opened.get()
            assert other.headers == {"n": "1"}
            server.accept(other)
            await mine.until_accepted()
            return mine, other

        yield Ends(client, server, open_stream)


@contextlib.asynccontextmanager
async def _websocket(*, text: bool = False, idle_seconds: float | None = None) -> AsyncIterator[Ends]:
    numbers = range(3)
    async with _transports() as (client_transport, server_transport):
        client = Connection(Channels(client=True, readable=numbers, base64=text, can_close=not text), fixed=numbers)
        server = Connection(
            Channels(client=False, readable=numbers, base64=text, can_close=not text),
            fixed=numbers,
            idle_seconds=idle_seconds,
        )
        client.start(client_transport)
        server.start(server_transport)
        unused = iter(numbers)

        async def open_stream() -> tuple[Stream, Stream]:
            number = next(unused)
            return client.streams[number], server.streams[number]

        yield Ends(client, server, open_stream)


KINDS: dict[str, Callable[..., AbstractAsyncContextManager[Ends]]] = {
    "spdy": _spdy,
    "tunnel": lambda **options: _spdy(tunnel=True, **options),
    "websocket": _websocket,
    "base64": lambda **options: _websocket(text=True, **options),
}
Test = Callable[[Ends], Coroutine[Any, Any, None]]


def on(kind: str, test: Test, **options: Any) -> None:
    """Runs a test with a connection of this kind."""

    async def run() -> None:
        async with asyncio.timeout(30), KINDS[kind](**options) as ends:
            await test(ends)

    asyncio.run(run())


async def read_exactly(stream: Stream, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += await stream.read()
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_go_both_ways(kind: str) -> None:
    async def test(ends: Ends) -> None:
        for number in range(3):
            mine, theirs = await ends.open()
            await mine.write(b"ping%d" % number)
            assert await read_exactly(theirs, 5) == b"ping%d" % number
            await theirs.write(b"pong")
            assert await read_exactly(mine, 4) == b"pong"

    on(kind, test)


@pytest.mark.parametrize("kind", KINDS)
def test_much_arrives_as_it_was_sent(kind: str) -> None:
    data = bytes(range(251)) * (4 * MIB // 251)

    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        sending = asyncio.create_task(mine.write(data))
        assert await read_exactly(theirs, len(data)) == data
        await sending

    on(kind, test)


@pytest.mark.parametrize("kind", ["spdy", "tunnel", "websocket"])
def test_one_direction_ends_and_the_other_goes_on(kind: str) -> None:
    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        await mine.write(b"last words")
        mine.finish()
        mine.finish()
        assert await read_exactly(theirs, 10) == b"last words"
        assert await theirs.read() == b""
        await theirs.write(b"still here")
        assert await read_exactly(mine, 10) == b"still here"

    on(kind, test)


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_connection_gives_what_has_come_and_then_an_error(kind: str) -> None:
    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        await mine.write(b"last words")
        closing = asyncio.create_task(ends.client.close())
        await ends.server.lost
        assert await read_exactly(theirs, 10) == b"last words"
        with pytest.raises(Disconnected):
            await theirs.read()
        with pytest.raises(Disconnected):
            await theirs.write(b"x")
        with pytest.raises(Disconnected):
            await mine.write(b"x")
        await ends.server.close()
        await closing

    on(kind, test)


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_that_vanishes_is_noticed(kind: str) -> None:
    async def test(ends: Ends) -> None:
        _, theirs = await ends.open()
        reading = asyncio.create_task(theirs.read())
        ends.client.abort()
        await ends.server.lost
        with pytest.raises(Disconnected):
            await reading
        await ends.server.close()

    on(kind, test)


@pytest.mark.parametrize("kind", KINDS)
def test_a_peer_that_vanishes_while_nobody_reads_is_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(spdy, "STREAM_WINDOW", 64 * MIB)

    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while True:
                    await mine.write(b"x" * MIB)
        assert theirs.unread >= connection_module.STREAM_LIMIT
        sock = ends.client._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends by RST, as if it had died
        ends.client.abort()
        await ends.server.lost

    on(kind, test)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_bounded_where_nobody_reads(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spdy, "STREAM_WINDOW", 64 * MIB)  # as if the peer had no windows

    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        data = bytes(range(256)) * (32 * MIB // 256)
        sending = asyncio.create_task(mine.write(data))
        await asyncio.sleep(0.5)  # nothing tells that no more comes
        assert not sending.done()
        assert connection_module.STREAM_LIMIT <= theirs.unread < 2 * connection_module.STREAM_LIMIT
        assert await read_exactly(theirs, len(data)) == data
        await sending

    on(kind, test)


def test_a_stream_that_nobody_reads_leaves_the_others_alone() -> None:
    async def test(ends: Ends) -> None:
        stuck, _ = await ends.open()
        sending = asyncio.create_task(stuck.write(b"x" * (8 * MIB)))
        mine, theirs = await ends.open()
        data = b"y" * (8 * MIB)
        writing = asyncio.create_task(mine.write(data))
        assert await read_exactly(theirs, len(data)) == data
        await writing
        assert not sending.done()
        sending.cancel()

    on("spdy", test)


@pytest.mark.parametrize("kind", ["spdy", "tunnel"])
def test_a_reset_ends_both_directions(kind: str) -> None:
    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        broken = theirs.broken
        await theirs.write(b"unread")
        mine.reset()
        mine.reset()
        assert "cancel" in await broken
        with pytest.raises(Disconnected, match="reset"):
            await theirs.write(b"x")
        with pytest.raises(Disconnected, match="reset"):
            await mine.read()
        other, _ = await ends.open()  # the connection goes on
        assert not other.broken.done()

    on(kind, test)


def test_what_came_before_a_reset_can_be_read() -> None:
    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        await mine.write(b"last words")
        mine.reset()
        await theirs.broken
        assert theirs.read_now() == b"last words"
        with pytest.raises(Disconnected):
            await theirs.read()

    on("spdy", test)


@pytest.mark.parametrize("kind", KINDS)
def test_an_idle_connection_ends_but_not_one_with_data(kind: str) -> None:
    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        for _ in range(8):
            await mine.write(b"x")
            await theirs.read()
            await asyncio.sleep(0.1)
        assert not ends.server.lost.done()
        assert "idle" in await ends.server.lost

    on(kind, test, idle_seconds=0.4)


def test_pings_keep_no_connection_alive() -> None:
    async def test(ends: Ends) -> None:
        transport = ends.client._transport
        for number in range(1, 200, 2):
            if ends.server.lost.done():
                break
            transport.write(bytes.fromhex("8003000600000004") + number.to_bytes(4, "big"))
            await asyncio.sleep(0.02)
        assert "idle" in ends.server.lost.result()

    on("spdy", test, idle_seconds=0.5)


PINGS = {
    "spdy": bytes.fromhex("8003000600000004") + (1).to_bytes(4, "big"),
    "websocket": bytes.fromhex("89fd00000000") + b"x" * 125,  # masked with zeros
}


@pytest.mark.parametrize("kind", PINGS)
def test_who_reads_no_answers_is_read_no_more(kind: str) -> None:
    async def test(ends: Ends) -> None:
        theirs, ours = ends.client._transport, ends.server._transport
        theirs.pause_reading()
        for transport in (theirs, ours):
            for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, buffer, 64 << 10)
        theirs.write(PINGS[kind] * (4 * MIB // len(PINGS[kind])))
        while ours.is_reading():
            await asyncio.sleep(0)
        assert theirs.get_write_buffer_size() > 0
        assert ours.get_write_buffer_size() < 2 * connection_module.UNANSWERED_LIMIT
        theirs.resume_reading()
        while theirs.get_write_buffer_size():
            await asyncio.sleep(0.01)
        mine, other = await ends.open()
        await mine.write(b"x")
        assert await other.read() == b"x"

    on(kind, test)


def test_a_slow_reader_gets_everything_after_the_end() -> None:
    async def test(ends: Ends) -> None:
        mine, theirs = await ends.open()
        ends.client._transport.pause_reading()
        data = b"z" * (200 << 10)
        await theirs.write(data)
        theirs.finish()
        closing = asyncio.create_task(ends.server.close())
        await asyncio.sleep(0.2)  # it would be over by now
        ends.client._transport.resume_reading()
        assert await read_exactly(mine, len(data)) == data
        assert await mine.read() == b""
        await ends.client.close()
        await closing

    on("spdy", test)


def test_a_peer_that_never_closes_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "LINGER_SECONDS", 0.1)

    async def test(ends: Ends) -> None:
        ends.client._transport.pause_reading()
        await ends.server.close()
        await ends.server._gone.wait()

    on("spdy", test)


def test_a_peer_that_breaks_the_protocol_is_left() -> None:
    for kind, garbage in (("spdy", b"\xff" * 16), ("websocket", b"\xff" * 16), ("tunnel", b"\x82\x01x")):

        async def test(ends: Ends, garbage: bytes = garbage) -> None:
            ends.client._transport.write(garbage)
            await ends.server.lost
            await ends.client.lost

        on(kind, test)


def test_a_stream_that_nobody_wants_is_reset() -> None:
    async def test() -> None:
        async with asyncio.timeout(10), _transports() as (ours, theirs):
            session = spdy.Session(client=True)
            client, server = Connection(session), Connection(spdy.Session(client=False))
            client.start(ours)
            server.start(theirs)
            stream = client.add(session.open({}), {})
            with pytest.raises(Disconnected, match="reset"):
                await stream.until_accepted()

    asyncio.run(test())


def test_streams_that_are_over_are_forgotten() -> None:
    async def test(ends: Ends) -> None:
        for _ in range(10):
            mine, theirs = await ends.open()
            for stream, other in ((mine, theirs), (theirs, mine)):
                stream.finish()
                assert await other.read() == b""
        assert not ends.client.streams
        assert not ends.server.streams

    on("spdy", test)
