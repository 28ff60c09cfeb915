"""Standard input, output and the terminal of whoever typed the command, on asyncio.

The descriptors are left in blocking mode: they are shared with the shell that has started us.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

READ_SIZE = 64 << 10
DETACH_KEYS = b"\x10\x11"
"""Ctrl-P, Ctrl-Q, as Docker has it."""


async def read_chunks(number: int) -> AsyncIterator[bytes]:
    """What comes from a terminal, a pipe or a file, as it comes."""
    while True:
        await _readable(number)
        try:
            data = os.read(number, READ_SIZE)
        except OSError:  # EIO: the terminal is gone
            return
        if not data:
            return
        yield data


async def _readable(number: int) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    try:
        loop.add_reader(number, wake)
    except PermissionError:  # a file is always readable, and epoll will not have it
        return
    try:
        await waiter
    finally:
        loop.remove_reader(number)


async def write_all(number: int, data: bytes) -> None:
    """Writes to a descriptor that may block. Raises BrokenPipeError."""
    await asyncio.to_thread(_write_all, number, data)


def _write_all(number: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]


@contextlib.contextmanager
def raw_mode(number: int) -> Iterator[None]:
    """Every key goes to the other end, also Ctrl-C, as long as the block runs. Does nothing if it is no terminal."""
    if not os.isatty(number):
        yield
        return
    before = termios.tcgetattr(number)
    tty.setraw(number, termios.TCSADRAIN)  # what has been typed already is kept
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def size(number: int) -> tuple[int, int] | None:
    """Width and height, if it is a terminal that knows them."""
    try:
        packed = fcntl.ioctl(number, termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return None
    height, width, _, _ = struct.unpack("HHHH", packed)
    return (width, height) if width and height else None


@contextlib.contextmanager
def on_resize(function: Callable[[], object]) -> Iterator[None]:
    """Calls the function when the terminal's size has changed, as long as the block runs."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, function)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


@contextlib.contextmanager
def whole_screen(number: int) -> Iterator[None]:
    """A screen of its own, without a cursor, as long as the block runs; then what was there before is there again."""
    _write_all(number, b"\x1b[?1049h\x1b[?25l")
    try:
        yield
    finally:
        _write_all(number, b"\x1b[?25h\x1b[?1049l")


def draw(number: int, lines: Sequence[str]) -> None:
    """Puts lines in place of all that is on the screen, without a flicker."""
    _write_all(number, b"\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines[:-1]).encode())
    _write_all(number, f"{lines[-1]}\x1b[K\x1b[J".encode())


class DetachKeys:
    """Finds the keys that mean leaving, also when they come one by one."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be sent on, and whether the keys were among it."""
        data, self._held = self._held + data, b""
        before, found, _ = data.partition(DETACH_KEYS)
        if found:
            return before, True
        if data.endswith(DETACH_KEYS[:1]):
            data, self._held = data[:-1], DETACH_KEYS[:1]
        return data, False
