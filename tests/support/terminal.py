"""A pseudo-terminal with a person at it, for tests of commands that draw or ask."""

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence


class Terminal:
    """A person at a terminal who has typed a command."""

    def __init__(self, command: Sequence[str]) -> None:
        self._master, slave = os.openpty()
        self.resize(100, 30)
        self.process = subprocess.Popen(["setsid", "--ctty", *command], stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self._seen = b""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def see(self, text: bytes, seconds: float = 30) -> bytes:
        """Waits until the text is on the screen; returns what was there before it. It is not seen again."""
        deadline = time.monotonic() + seconds
        while text not in self._seen:
            ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"on the screen is only {self._seen!r}"
            self._seen += os.read(self._master, 65536)
        before, _, self._seen = self._seen.partition(text)
        return before

    def end(self) -> int:
        """The exit status."""
        return self.process.wait(timeout=30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextlib.contextmanager
def terminal(command: Sequence[str]) -> Iterator[Terminal]:
    made = Terminal(command)
    try:
        yield made
    finally:
        made.close()
