"""The log file of a container: reading it, from some line on, and following it.

Following looks again after a pause that grows from 10 to 250 ms while nothing comes and is short again once something
does. Regular files cannot be waited for, and inotify would have to watch the directory too and fails when its
instances run out, of which a host has 128. One stat and one read every quarter of a second cost a few microseconds.

A kubelet rotates by renaming the file and asking the runtime to open the path anew. Nothing is written to the old
file once the new one is there, so the old is read to its end and then left.
"""

import collections
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from podwright.errors import NotFound
from podwright.wire.cri_log import Line, LogReader, Malformed, Record, parse

_PORTION: Final = 1 << 16
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.25  # seconds

Entry = Line | Malformed


def read(path: str, tail: int | None = None) -> Iterator[Entry]:
    """The last `tail` lines of the file as it is now, or all. Raises NotFound."""
    follower = Follower(path, tail)
    return iter(_last(itertools.chain(follower.poll(), follower.finish()), tail))


def follow(path: str, tail: int | None, wait: Callable[[float], bool]) -> Iterator[Entry]:
    """The lines of the file, and those to come until nothing more will.

    `wait` is called with seconds to let pass, fewer if the container has ended meanwhile; it tells whether it has.
    """
    follower = Follower(path, tail)
    yield from _last(follower.poll(), tail)
    pause = _FIRST_PAUSE
    while True:
        over = wait(pause)  # before the look, that nothing written until then is missed
        pause = min(2 * pause, _LONGEST_PAUSE)
        for entry in follower.poll():
            pause = _FIRST_PAUSE
            yield entry
        if over:
            yield from follower.finish()
            return


def _last(entries: Iterator[Entry], count: int | None) -> Iterable[Entry]:
    return entries if count is None else collections.deque(entries, maxlen=count)


class Follower:
    """Reads what is new in a file that grows, is renamed away, or is cut."""

    def __init__(self, path: str, tail: int | None = None) -> None:
        """Begins early enough for the last `tail` lines, or at the beginning. Raises NotFound."""
        self._path = path
        self._fd = _open(path)
        self._reader = LogReader()
        self._at = 0 if tail is None else _begin_of_tail(self._fd, tail)

    def poll(self) -> Iterator[Entry]:
        """What has been written since the last look."""
        yield from self._rest()
        try:
            there = os.stat(self._path)
        except FileNotFoundError:  # between a rename and the runtime's opening it anew
            return
        here = os.fstat(self._fd)
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            yield from self._rest()
            os.close(self._fd)
            self._fd, self._at = _open(self._path), 0
            yield from self._rest()
        elif here.st_size < self._at:  # truncated in place
            self._at = 0
            yield from self._rest()

    def finish(self) -> Iterator[Entry]:
        """What is left of an unfinished line; nothing can be read afterwards."""
        os.close(self._fd)
        yield from self._reader.finish()

    def _rest(self) -> Iterator[Entry]:
        while data := os.pread(self._fd, _PORTION, self._at):
            self._at += len(data)
            yield from self._reader.receive(data)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(
            f'log file "{path}": {(error.strerror or str(error)).lower()}; logs are read on the machine of the runtime'
        ) from None


def _begin_of_tail(fd: int, count: int) -> int:
    """Where the last `count` lines begin, or somewhat earlier; pieces of one line count as one."""
    size, window = os.fstat(fd).st_size, _PORTION
    while True:
        start = max(0, size - window)
        data = os.pread(fd, size - start, start)
        at = 0 if start == 0 else data.find(b"\n") + 1
        ends = []  # of whole lines
        while (newline := data.find(b"\n", at)) >= 0:
            record = parse(data[at:newline])
            if not isinstance(record, Record) or record.full:
                ends.append(start + newline + 1)
            at = newline + 1
        if len(ends) > count:
            return ends[-count - 1]
        if start == 0:
            return 0
        window *= 4
