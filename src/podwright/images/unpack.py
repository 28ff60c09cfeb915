"""Starting workers and understanding what they say (worker.py has the other side)."""

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from podwright.errors import Internal, InvalidArgument, PodwrightError, ResourceExhausted
from podwright.images.model import ImageSettings
from podwright.images.usage import usage
from podwright.kernel import run

logger = logging.getLogger(__name__)

_PROGRAM = """
import sys
sys.path += sys.argv[1].split(":")
from podwright.images.{} import main
main()
"""
_LIBRARIES = ("podwright", "isal", "zstandard")
_LONGEST_LINE = 8 << 20  # names of implicit directories, each byte escaped as six


class Unpacked(msgspec.Struct, frozen=True):
    """What a worker found out about a layer."""

    digest: str
    diff_id: str
    size: int = 0
    """Bytes on disk, as du(1) counts."""
    inodes: int = 0
    content: int = 0
    """Bytes of its regular files."""
    opaque: bool = False
    """Whether it hides all layers below it."""
    implicit: list[str] = msgspec.field(default_factory=list)
    """Directories that it has no entry for; bytes that are no UTF-8 are escaped as Python does."""
    many_implicit: bool = False
    """Whether there are so many that `implicit` has none of them."""


class Packed(msgspec.Struct, frozen=True):
    """An archive that pack.py has written."""

    digest: str
    size: int


class NeedsParents(Exception):
    """The layer can only be unpacked on top of those below it."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a blob is: all or a part of a file, which may still be growing."""

    path: str
    size: int
    offset: int = 0
    algorithm: str = "sha256"
    diff_algorithm: str = "sha256"


@dataclass(frozen=True, slots=True)
class Below:
    """The layers that one is unpacked on top of."""

    base: str
    directories: tuple[str, ...]
    """Relative to `base`, the topmost first."""


class Feed:
    """Tells a worker how many bytes are there. `advance` may be called by any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._step = max(1 << 20, size // 1024)  # so few messages that the pipe never fills
        self._lock = threading.Lock()
        self._told = -1
        self._latest = 0
        self._pipe = -1

    def advance(self, frontier: int) -> None:
        """All bytes before `frontier` are there."""
        with self._lock:
            self._latest = max(self._latest, frontier)
            if self._latest >= self._told + self._step or self._latest == self._size:
                self._tell()

    def attach(self, pipe: int) -> None:
        """The worker is there."""
        with self._lock:
            self._pipe = pipe
            self._tell()

    def detach(self) -> None:
        """The worker has gone; the pipe will be closed."""
        with self._lock:
            self._pipe = -1

    def _tell(self) -> None:
        if self._pipe >= 0 and self._told != self._latest:
            self._told = self._latest
            with contextlib.suppress(BrokenPipeError):  # it has found a fault and ended
                os.write(self._pipe, self._latest.to_bytes(8, "little"))


class Unpacker:
    """Runs workers, a few at a time."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.unpackers)
        self._paths = ":".join(dict.fromkeys(_place(name) for name in _LIBRARIES if _place(name)))

    async def unpack(
        self, source: Source, directory: str, feed: Feed, progress: Callable[[int], None], below: Below | None = None
    ) -> Unpacked:
        """Unpacks a blob into an empty directory, for which there is room beside it. `progress` hears how many bytes
        of the blob are used.

        Raises InvalidArgument for a blob that is no layer or breaks a limit, ResourceExhausted for a full disk,
        NeedsParents if it cannot be done without `below`, Internal. Cancelled, it kills the worker.
        """
        async with self._slots, self._worker(source, directory, below) as (process, pipe):
            feed.attach(pipe)
            try:
                unpacked = await self._listen(process, progress)
            finally:
                feed.detach()
        return await asyncio.to_thread(_settled, unpacked, directory) if below else unpacked

    async def pack(self, directory: str, output: str, *, layer: bool) -> Packed:
        """Writes a directory as an uncompressed layer into the file `output`; see pack.py for `layer`.

        Raises ResourceExhausted for a full disk, Internal.
        """
        job = {"directory": directory, "output": output, "layer": layer}
        async with self._slots:
            finished = await run.run([*self._program("pack"), json.dumps(job)])
        if b"[Errno 28]" in finished.stderr:
            raise ResourceExhausted(f"no space left to pack {directory!r}")
        return msgspec.json.decode(finished.check(f"cannot pack {directory!r}").stdout, type=Packed)

    def _program(self, module: str) -> list[str]:
        return [sys.executable, "-I", "-S", "-c", _PROGRAM.format(module), self._paths]

    @contextlib.asynccontextmanager
    async def _worker(
        self, source: Source, directory: str, below: Below | None
    ) -> "AsyncIterator[tuple[asyncio.subprocess.Process, int]]":
        blob = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC)
        reading, writing = os.pipe()
        try:
            job = {
                "blob": blob,
                "offset": source.offset,
                "size": source.size,
                "algorithm": source.algorithm,
                "diff_algorithm": source.diff_algorithm,
                "directory": directory,
                "base": below.base if below else "",
                "below": below.directories if below else (),
                "largest": self._settings.largest_layer,
                "entries": self._settings.most_entries,
            }
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._program("worker"), json.dumps(job),
                    stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                    pass_fds=(blob,), env={}, limit=_LONGEST_LINE, start_new_session=True,
                )  # fmt: skip
            finally:
                os.close(reading)
                os.close(blob)
            try:
                yield process, writing
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.send_signal(signal.SIGKILL)
                    await process.wait()
        finally:
            os.close(writing)

    async def _listen(self, process: asyncio.subprocess.Process, progress: Callable[[int], None]) -> Unpacked:
        assert process.stdout is not None
        words = b""
        async for line in process.stdout:
            report = _parsed(line)
            if "read" in report:
                progress(int(report["read"]))
            elif "done" in report:
                return msgspec.convert(report["done"], Unpacked)
            elif "error" in report:
                raise _failure(report["error"])
            else:
                words += line
        status = await process.wait()
        ended = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        raise Internal(f"the worker that unpacks a layer {ended}: {words[-1000:].decode(errors='replace')}")


def _settled(unpacked: Unpacked, directory: str) -> Unpacked:
    """Counts a layer that lies on top of others, and removes what its overlay needed."""
    place = os.path.dirname(directory)
    os.rmdir(f"{place}/merged")
    shutil.rmtree(f"{place}/work")
    size, inodes, content = usage(directory)
    return msgspec.structs.replace(unpacked, size=size, inodes=inodes, content=content)


def _parsed(line: bytes) -> dict[str, Any]:
    """A report; empty for what Python itself has to say."""
    try:
        report = json.loads(line)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _failure(error: dict[str, str]) -> Exception:
    kind, message = error["kind"], error["message"]
    if kind == "parents":
        return NeedsParents(message)
    kinds: dict[str, type[PodwrightError]] = {"invalid": InvalidArgument, "full": ResourceExhausted}
    return kinds.get(kind, Internal)(f"cannot unpack the layer: {message}")


def _place(package: str) -> str:
    """The directory that a package is imported from; empty if it is not installed."""
    spec = importlib.util.find_spec(package)
    return os.path.dirname(os.path.dirname(spec.origin)) if spec and spec.origin else ""
