"""A connection that carries streams, and the streams.

An engine reads and writes the frames (wire/spdy.py, websocket.py here); this module owns the transport, the waiting,
and the flow control: a stream that nobody reads stops the reading from the connection once it has STREAM_LIMIT bytes
in memory, and a connection whose peer does not read makes `Stream.write` wait. So memory is bounded both ways.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from podwright.wire.multiplexed import Accepted, Data, Ended, Event, Finished, Opened, Reset, Widened

logger = logging.getLogger(__name__)

T = TypeVar("T")

STREAM_LIMIT = 1 << 20
TOTAL_LIMIT = 8 << 20
"""Unread bytes, of one stream and of all, at which the connection is not read any more."""
WRITE_LIMIT = 256 << 10
"""Unsent bytes at which streams stop writing."""
UNANSWERED_LIMIT = 1 << 20
"""Unsent bytes at which a peer that has us answer, by pings and the like, is not read until it has read."""
LINGER_SECONDS = 5.0
"""How long the peer may take to close its end after everything has been sent to it."""
LOOK_SECONDS = 5.0
"""While the connection is not read its end would go unnoticed, so it is looked for."""
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""Seconds, and times. A peer that has vanished with its window closed to us answers nothing else."""

_TCP_ESTABLISHED = 1  # include/net/tcp_states.h


def half_close(transport: asyncio.Transport) -> None:
    """Sends no more but goes on reading, where that is possible: closing a socket with unread input makes the kernel
    throw away what is on its way to the peer.
    """
    if not transport.can_write_eof():  # TLS
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:  # ENOTCONN: the peer has gone already
        transport.abort()


class Disconnected(ConnectionError):
    """The peer has left, or has reset the stream."""


async def unless(gone: asyncio.Future[str], work: Coroutine[Any, Any, T]) -> T:
    """Does the work; if a connection is `lost` or a stream `broken` meanwhile, cancels it and raises Disconnected."""
    task = asyncio.ensure_future(work)
    either: set[asyncio.Future[Any]] = {task, gone}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if task.cancelled():
        raise Disconnected(gone.result())
    return task.result()


class Engine(Protocol):
    """What reads and writes frames. `data_to_send` has something after any call."""

    def receive(self, data: bytes) -> list[Event]: ...
    def accept(self, stream: int) -> None: ...
    def room(self, stream: int) -> int: ...
    def send(self, stream: int, data: bytes | memoryview) -> None: ...
    def finish(self, stream: int) -> None: ...
    def reset(self, stream: int) -> None: ...
    def took(self, stream: int, size: int) -> None: ...
    def close(self) -> None: ...
    def data_to_send(self) -> Sequence[bytes | memoryview]: ...


class Stream:
    """One stream: bytes both ways. One task may read and one may write at a time."""

    def __init__(self, connection: "Connection", number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        self.headers = headers
        self._connection = connection
        self.chunks: deque[bytes] = deque()
        self.unread = 0
        self.finished = False
        """The peer sends no more."""
        self.sent_all = False
        self.broken: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Set when nothing can be sent or received any more, with the reason."""
        self.accepted = False
        self._waiters: list[asyncio.Future[None]] = []

    async def read(self) -> bytes:
        """The next bytes; b"" after the last. Raises Disconnected if the end was not a proper one."""
        while not self.chunks:
            if self.finished:
                return b""
            await self._wait()
        return self._take(self.chunks.popleft())

    def read_now(self) -> bytes:
        """All that has come so far, without waiting."""
        data = b"".join(self.chunks)
        self.chunks.clear()
        return self._take(data)

    def _take(self, data: bytes) -> bytes:
        self.unread -= len(data)
        self._connection.took(self, len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Sends all of it, as fast as the peer takes it. Raises Disconnected."""
        await self._connection.write(self, data)

    async def until_accepted(self) -> None:
        """Waits for the peer's answer to a stream of ours. Raises Disconnected."""
        while not self.accepted:
            await self._wait()

    def finish(self) -> None:
        """Sends no more; may be repeated."""
        self._connection.finish(self)

    def reset(self) -> None:
        """Ends both directions, and forgets what has come; may be repeated."""
        self._connection.reset(self)

    async def _wait(self) -> None:
        self.check()
        await self.change()

    def check(self) -> None:
        """Raises Disconnected if it is broken."""
        if self.broken.done():
            raise Disconnected(self.broken.result())

    async def change(self) -> None:
        """Waits for `wake`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)

    def wake(self) -> None:
        """Something has changed, or there may be room to write again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class Connection(asyncio.Protocol):
    """The peer at the other end of a transport. Give it to the transport by `start`."""

    def __init__(
        self,
        engine: Engine,
        *,
        opened: Callable[[Stream], None] | None = None,
        fixed: Iterable[int] = (),
        idle_seconds: float | None = None,
    ) -> None:
        """`opened` is called for each stream that the peer opens; `fixed` are there from the beginning.

        After `idle_seconds` without data either way, the connection ends; pings are no data.
        """
        self._engine = engine
        self._opened = opened
        self.streams = {number: Stream(self, number, {}) for number in fixed}
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._paused = False
        self._unread = 0
        self._unanswered = False
        self._sendable = asyncio.Event()
        self._sendable.set()
        self._idle_seconds = idle_seconds
        self._active_at = self._loop.time()
        self._timers: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._closing = False
        self._gone = asyncio.Event()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Set when the peer has said goodbye or has left, with the reason."""

    def start(self, transport: asyncio.Transport, data: bytes = b"") -> None:
        """Takes over a transport from which `data` has already been read."""
        self._transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(WRITE_LIMIT)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        self._flush()
        if not transport.is_reading():
            transport.resume_reading()
        if data:
            self.data_received(data)
        if self._idle_seconds is not None:
            self._call_later(self._idle_seconds, self._look_for_idleness)

    async def close(self) -> None:
        """Ends the connection: what has been written still arrives, as long as the peer takes it."""
        self._closing = True
        self._engine.close()
        self._flush()
        self._fail("the connection was closed")
        if self._gone.is_set():
            return
        try:
            self._transport.resume_reading()
            self._transport.set_write_buffer_limits(high=1, low=0)  # "writable" now means that all is sent
            async with asyncio.timeout(self._idle_seconds):
                await self._sendable.wait()
            half_close(self._transport)
            async with asyncio.timeout(LINGER_SECONDS):
                await self._gone.wait()
        except TimeoutError:
            logger.debug("the peer does not close the connection")
        except OSError as error:
            logger.debug("the peer has closed the connection already: %s", error)
        finally:
            self.abort()

    def abort(self) -> None:
        """Ends the connection at once."""
        if not self._gone.is_set():
            self._transport.abort()

    # for streams

    def took(self, stream: Stream, size: int) -> None:
        """A stream's bytes have been read."""
        self._unread -= size
        self._engine.took(stream.number, size)
        self._flush()
        if stream.unread <= STREAM_LIMIT // 2:
            self._resume_if_possible()

    async def write(self, stream: Stream, data: bytes) -> None:
        """Stream.write."""
        rest = memoryview(data)
        while rest:
            stream.check()
            room = self._engine.room(stream.number)
            if room == 0:
                await stream.change()
                continue
            self._engine.send(stream.number, rest[:room])
            rest = rest[room:]
            self._active_at = self._loop.time()
            self._flush()
            await self._sendable.wait()
        await asyncio.sleep(0)  # so that one that never has to wait lets others run

    def finish(self, stream: Stream) -> None:
        """Stream.finish."""
        if not stream.broken.done() and not stream.sent_all:
            stream.sent_all = True
            self._engine.finish(stream.number)
            self._flush()
            self._forget_if_over(stream)

    def reset(self, stream: Stream) -> None:
        """Stream.reset."""
        self._engine.reset(stream.number)
        self._break(stream, "the stream was reset")
        stream.chunks.clear()
        size, stream.unread = stream.unread, 0
        self.took(stream, size)

    def add(self, number: int, headers: Mapping[str, str]) -> Stream:
        """Enters a stream that this end has opened by its engine."""
        stream = self.streams[number] = Stream(self, number, headers)
        self._flush()
        return stream

    def accept(self, stream: Stream) -> None:
        """Accepts a stream that the peer has opened."""
        self._engine.accept(stream.number)
        self._flush()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """The transport has bytes."""
        for event in self._engine.receive(data):
            self._happened(event)
        if self._flush() and self._transport.get_write_buffer_size() > UNANSWERED_LIMIT:
            self._unanswered = True
            self._pause()

    def pause_writing(self) -> None:
        """The peer does not read fast enough."""
        self._sendable.clear()

    def resume_writing(self) -> None:
        """The peer has read."""
        self._sendable.set()
        self._unanswered = False
        self._resume_if_possible()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        for timer in self._timers.values():
            timer.cancel()
        self._gone.set()
        self._sendable.set()
        self._fail(f"the connection was lost: {exc}" if exc else "the peer has closed the connection")

    # events

    def _happened(self, event: Event) -> None:
        match event:
            case Data(number, data):
                self._received(number, data)
            case Opened(number, headers):
                stream = self.streams[number] = Stream(self, number, headers)
                if self._opened is None:
                    stream.reset()
                else:
                    self._opened(stream)
            case Ended(reason, failed):
                logger.debug("connection ended: %s", reason)
                self._fail(reason)
                if failed:
                    self._loop.call_soon(self._transport.close)
            case Widened(0):
                for stream in self.streams.values():
                    stream.wake()
            case _ if event.stream in self.streams:
                self._stream_changed(self.streams[event.stream], event)

    def _stream_changed(self, stream: Stream, event: Accepted | Finished | Reset | Widened) -> None:
        match event:
            case Accepted():
                stream.accepted = True
            case Finished():
                stream.finished = True
                self._forget_if_over(stream)
            case Reset():
                self._break(stream, event.reason)
        stream.wake()

    def _received(self, number: int, data: bytes) -> None:
        self._active_at = self._loop.time()
        stream = self.streams.get(number)
        if stream is None or stream.broken.done():
            self._engine.took(number, len(data))
            return
        stream.chunks.append(data)
        stream.unread += len(data)
        self._unread += len(data)
        stream.wake()
        if stream.unread >= STREAM_LIMIT or self._unread >= TOTAL_LIMIT:
            self._pause()

    def _break(self, stream: Stream, reason: str) -> None:
        """Ends both directions; what has come can still be read."""
        if not stream.broken.done():
            stream.broken.set_result(reason)
        self.streams.pop(stream.number, None)
        stream.wake()

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.finished and stream.sent_all:
            self.streams.pop(stream.number, None)

    def _fail(self, reason: str) -> None:
        """No stream gets or sends anything any more; what has come can still be read."""
        for stream in list(self.streams.values()):
            self._break(stream, reason)
        if not self.lost.done():
            self.lost.set_result(reason)

    # helpers

    def _flush(self) -> bool:
        """Whether there was anything to send."""
        out = self._engine.data_to_send()
        if out and not self._gone.is_set():
            self._transport.write(b"".join(out))  # writelines knows no limit in Python 3.12 and 3.13 (CVE-2024-12254)
        return bool(out)

    def _pause(self) -> None:
        """Does not read from the peer until `_resume_if_possible`."""
        if not self._paused and not self._closing:
            self._paused = True
            self._transport.pause_reading()
            self._call_later(LOOK_SECONDS, self._look_for_end)

    def _resume_if_possible(self) -> None:
        if not self._paused or self._unanswered or self._unread > TOTAL_LIMIT // 2 or self._gone.is_set():
            return
        if not any(stream.unread >= STREAM_LIMIT for stream in self.streams.values()):
            self._paused = False
            self._transport.resume_reading()

    def _call_later(self, seconds: float, function: Callable[[], None]) -> None:
        if function in self._timers:
            self._timers[function].cancel()
        self._timers[function] = self._loop.call_later(seconds, function)

    def _look_for_end(self) -> None:
        if not self._paused or self._gone.is_set():
            return
        sock = self._transport.get_extra_info("socket")
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED:
            self.abort()
            return
        self._call_later(LOOK_SECONDS, self._look_for_end)

    def _look_for_idleness(self) -> None:
        assert self._idle_seconds is not None
        left = self._active_at + self._idle_seconds - self._loop.time()
        if left > 0:
            self._call_later(left, self._look_for_idleness)
            return
        logger.info("nothing was sent either way for %.0f seconds: ending the connection", self._idle_seconds)
        self._fail("the connection was idle for too long")
