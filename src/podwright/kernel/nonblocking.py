"""Pipes, terminals and sockets, read and written by the event loop.

Asynchronous, unlike the rest of this folder, as run.py is. asyncio's own pipe transports read by callbacks and pause
by flags; here the reader asks, so a slow one holds back whoever writes.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import struct
import termios

READ_SIZE = 256 << 10


class Fd:
    """An open file descriptor, which belongs to this object. One task may read and one may write at a time."""

    def __init__(self, number: int) -> None:
        os.set_blocking(number, False)
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._left: int | None = None

    def fileno(self) -> int:
        """The number; -1 after `close`."""
        return self._number

    async def read(self, size: int = READ_SIZE) -> bytes:
        """The next bytes, b"" at the end: nobody is left who could write, or `close` was called. Raises OSError."""
        while self._number >= 0 and self._left != 0:
            data = self._read_now(size)
            if data is not None:
                return data
            if self._left is not None:
                break
            await self._readable()
        return b""

    def _read_now(self, size: int) -> bytes | None:
        """None if there is nothing yet."""
        if self._left is not None:
            size = min(size, self._left)
        try:
            data = os.read(self._number, size)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:  # a terminal that nobody has open any more
                return b""
            raise
        if self._left is not None:
            self._left -= len(data)
        return data

    async def _readable(self) -> None:
        self._reader = self._loop.create_future()
        self._loop.add_reader(self._number, _wake, self._reader)
        try:
            await self._reader
        finally:
            self._reader = None
            if self._number >= 0:
                self._loop.remove_reader(self._number)

    async def write(self, data: bytes) -> None:
        """Writes all of it. Raises BrokenPipeError when nobody reads, or after `close`."""
        rest = memoryview(data)
        while rest:
            if self._number < 0:
                raise BrokenPipeError(errno.EPIPE, "closed meanwhile")
            try:
                rest = rest[os.write(self._number, rest) :]
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                if error.errno == errno.EIO:
                    raise BrokenPipeError(errno.EPIPE, "the terminal is gone") from None
                raise

    async def _writable(self) -> None:
        self._writer = self._loop.create_future()
        self._loop.add_writer(self._number, _wake, self._writer)
        try:
            await self._writer
        finally:
            self._writer = None
            if self._number >= 0:
                self._loop.remove_writer(self._number)

    def end_soon(self, seconds: float) -> None:
        """After these seconds `read` gives what is there then, and then the end, whoever goes on writing."""
        self._loop.call_later(seconds, self._end)

    def _end(self) -> None:
        if self._number < 0:
            return
        (self._left,) = struct.unpack("i", fcntl.ioctl(self._number, termios.FIONREAD, b"\0" * 4))
        if self._reader is not None:
            _wake(self._reader)

    def close(self) -> None:
        """Closes it; may be repeated. Whoever waits is told."""
        if self._number < 0:
            return
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        os.close(self._number)
        self._number = -1
        for waiter in (self._reader, self._writer):
            if waiter is not None:
                _wake(waiter)


def _wake(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


async def readable(number: int) -> None:
    """Waits until there is something to read."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    loop.add_reader(number, _wake, waiter)
    try:
        await waiter
    finally:
        loop.remove_reader(number)


def pipe() -> tuple[int, int]:
    """A pipe that holds more than the usual 64 KiB, where the system allows it; its ends to read and to write."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, READ_SIZE)
    return reading, writing
