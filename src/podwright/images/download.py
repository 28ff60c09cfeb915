"""Fetching one blob into a file: in pieces by several connections where it is big, from where an earlier try ended.

What is there is what the file holds: pieces that are missing are its holes (lseek(2), SEEK_HOLE), so nothing has to be
written down, and a killed daemon goes on. What a power loss made of it the digest shows, which the reader checks.

The reader follows the frontier: all bytes before it are there.
"""

import asyncio
import errno
import functools
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Collection

from podwright.images.disk import room_for
from podwright.images.model import ImageSettings
from podwright.images.registry import Fetch, Lie, Registry, Turns
from podwright.images.tasks import together
from podwright.images.transport import Host, Response, Transient
from podwright.wire.manifest import Descriptor

_DOUBTFUL = 64 << 10
"""The end of a part on disk may be a page that is half written."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Download:
    """One blob. `run` it; `frontier` may be asked any time; `listener` is called by threads when it has moved."""

    def __init__(
        self,
        registry: Registry,
        descriptor: Descriptor,
        path: str,
        listener: Callable[[int], None],
        settings: ImageSettings,
    ) -> None:
        self.registry, self.descriptor, self.path = registry, descriptor, path
        self._listener = listener
        self._settings = settings
        self._lock = threading.Lock()
        self._parts: list[tuple[int, int]] = []
        """What is there: disjoint, in order."""
        self.frontier = 0
        self.done = 0
        """Bytes that are there, wherever."""
        self.resumed = 0
        """Bytes that were there at the beginning."""
        self.sources: set[Host] = set()
        self._holes: deque[tuple[int, int]] = deque()
        """What nobody fetches yet, in order."""
        self._ranged = asyncio.Event()

    def prepare(self) -> None:
        """Finds out what an earlier try has left; makes the file. Blocking."""
        size = self.descriptor.size
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size > size:
                os.ftruncate(fd, 0)
            parts = _parts(fd, size)
        finally:
            os.close(fd)
        position = 0
        for start, end in [*parts, (size, size)]:
            if start > position:
                self._holes.append((position, start))
            position = max(position, end)
        for start, end in parts:
            self.arrived(start, end)
        self.resumed = self.done

    def arrived(self, start: int, end: int) -> None:
        """Notes that the bytes from `start` to before `end` are in the file. For threads."""
        with self._lock:
            apart = []
            for begin, until in self._parts:
                if until < start or begin > end:
                    apart.append((begin, until))
                else:
                    start, end = min(begin, start), max(until, end)
            self._parts = sorted([*apart, (start, end)])
            self.done = sum(until - begin for begin, until in self._parts)
            first, frontier = self._parts[0]
            if first or frontier == self.frontier:
                return
            self.frontier = frontier
        self._listener(frontier)

    async def run(self, liars: Collection[Host] = ()) -> None:
        """Fetches what is missing, from all hosts but those. Raises as Registry.blob, and ResourceExhausted.

        Cancelled, it leaves what it has for the next try.
        """
        with room_for(f"{self.descriptor.digest} in {self.path!r}"):
            await self._run(liars)

    async def _run(self, liars: Collection[Host]) -> None:
        helpers = min(self._settings.connections_per_layer, self._pieces_left()) - 1
        async with together() as group:
            group.create_task(self._work(liars))
            if helpers > 0:
                group.create_task(self._help(helpers, liars, group))

    async def _help(self, number: int, liars: Collection[Host], group: asyncio.TaskGroup) -> None:
        """More connections, once the first has shown that the host answers to ranges."""
        await self._ranged.wait()
        for _ in range(min(number, self._pieces_left())):
            group.create_task(self._work(liars))

    async def _work(self, liars: Collection[Host]) -> None:
        """Fetches one piece after the other until there is none."""
        turns = self.registry.turns(liars)
        while self._holes:
            piece = _Piece(self, *self._take(), asyncio.get_running_loop())
            await self.registry.try_hosts(turns, self.descriptor.digest, functools.partial(self._fetch, turns, piece))
        self._ranged.set()

    async def _fetch(self, turns: Turns, piece: "_Piece", host: Host) -> None:
        before = piece.position
        try:
            await self.registry.fetch(Fetch(host, f"/blobs/{self.descriptor.digest}", piece.headers(), piece))
            if piece.position < piece.end:
                raise Transient(f"{host}: the connection ended after {piece.position - before} bytes")
        finally:
            if piece.position > before:
                self.sources.add(host)
                turns.gained()

    def answered(self, *, ranged: bool) -> None:
        """What the first answer shows: whether there can be pieces. On the event loop."""
        if not ranged:
            self._holes.clear()
        self._ranged.set()

    def _take(self) -> tuple[int, int]:
        """The next piece. Two thirds of one are not worth a request of their own."""
        piece = self._settings.piece
        start, end = self._holes.popleft()
        if end - start > piece + piece * 2 // 3:
            self._holes.appendleft((start + piece, end))
            end = start + piece
        return start, end

    def _pieces_left(self) -> int:
        return sum(max(1, (end - start) // self._settings.piece) for start, end in self._holes)


class _Piece:
    """A sink that writes a part of the blob where it belongs."""

    def __init__(self, download: Download, start: int, end: int, loop: asyncio.AbstractEventLoop) -> None:
        self._download, self._loop = download, loop
        self._size = download.descriptor.size
        self.position, self.end = start, end
        self._skip = 0
        self._fd = -1

    def headers(self) -> dict[str, str]:
        """None where all is wanted: not every registry knows ranges."""
        whole = self.position == 0 and self.end == self._size
        return {} if whole else {"Range": f"bytes={self.position}-{self.end - 1}"}

    def begin(self, response: Response) -> None:
        ranged = response.status == 206
        if ranged:
            self._check(response.headers.get("Content-Range", ""))
        else:
            length = response.headers.get("Content-Length", "")
            if length.isdigit() and int(length) != self._size:
                raise Lie(f"the blob has {length} bytes, not {self._size}")
            self._skip, self.end = self.position, self._size  # all of it comes: we take what follows as well
        self._fd = os.open(self._download.path, os.O_WRONLY | os.O_CLOEXEC)
        self._loop.call_soon_threadsafe(lambda: self._download.answered(ranged=ranged))

    def _check(self, content_range: str) -> None:
        match = _CONTENT_RANGE.fullmatch(content_range)
        if not match or int(match[1]) != self.position:
            raise Lie(f"the answer to bytes {self.position}-{self.end - 1} is {content_range!r}")
        if match[3] != "*" and int(match[3]) != self._size:
            raise Lie(f"the blob has {match[3]} bytes, not {self._size}")

    def take(self, data: bytes) -> bool:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        data = data[: self.end - self.position]
        written = 0
        while written < len(data):
            written += os.pwrite(self._fd, data[written:] if written else data, self.position + written)
        self.position += len(data)
        if data:
            self._download.arrived(self.position - len(data), self.position)
        return self.position < self.end

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _parts(fd: int, size: int) -> list[tuple[int, int]]:
    """What a file holds, without the ends that may be half written."""
    parts = []
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no data after it
                raise
            break
        position = os.lseek(fd, start, os.SEEK_HOLE)
        if position >= size and os.fstat(fd).st_size == size:
            parts.append((start, size))
        elif position - _DOUBTFUL > start:
            parts.append((start, position - _DOUBTFUL))
    return parts
