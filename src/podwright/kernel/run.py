"""The one door to other programs.

Asynchronous, unlike the rest of this folder: a program is waited for by the event loop. subprocess starts programs by
vfork, whose cost does not grow with our memory; so no preexec_fn, no os.fork, no uvloop (docs/architecture.md). No
shell, ever.
"""

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from podwright.errors import DeadlineExceeded, Internal

logger = logging.getLogger(__name__)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DRAIN_SECONDS = 1.0
ENVIRONMENT: Mapping[str, str] = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root"}
"""What programs get; ours is nobody's business."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended."""

    argv: tuple[str, ...]
    status: int
    """Exit status; minus the number of a signal that killed it."""
    stdout: bytes
    stderr: bytes

    def check(self, doing: str) -> "Finished":
        """Raises Internal with the program's own words unless the status is 0. `doing` begins the message."""
        if self.status == 0:
            return self
        logger.info("failed with status %d: %s", self.status, shlex.join(self.argv))
        words = (self.stderr.strip() or self.stdout.strip() or f"status {self.status}".encode()).decode(
            errors="replace"
        )
        raise Internal(f"{doing}: {os.path.basename(self.argv[0])}: {words[-2000:]}")


class _Collector(asyncio.SubprocessProtocol):
    """Gathers what a program writes, up to a limit for each stream; what is over it is read and dropped."""

    def __init__(self, limit: int) -> None:
        loop = asyncio.get_running_loop()
        self.output = {1: bytearray(), 2: bytearray()}
        self.exited: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._limit = limit
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        room = self._limit - len(self.output[fd])
        self.output[fd] += data[:room]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self._open.discard(fd)
        if not self._open and not self.closed.done():
            self.closed.set_result(None)

    def process_exited(self) -> None:
        if not self.exited.done():
            self.exited.set_result(None)


async def run(
    argv: Sequence[str],
    *,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    limit: int = 16 << 20,
    timeout: float | None = None,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
    stderr: int | None = None,
    started: Callable[[int], None] | None = None,
) -> Finished:
    """Runs a program to its end. `started` is called with its process number as soon as it has one.

    With `stderr`, a file descriptor, nothing is captured: for programs that leave a child behind, which must not hold
    our pipes.

    `limit` bytes are kept of each output stream. After its end they are read for DRAIN_SECONDS more where a child of it
    holds them open. On `timeout` (seconds) and on cancellation it is killed; the former raises
    DeadlineExceeded. Raises Internal if it cannot be started.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, collector = await loop.subprocess_exec(
            lambda: _Collector(limit),
            *argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE if stderr is None else subprocess.DEVNULL,
            stderr=subprocess.PIPE if stderr is None else stderr,
            env={**ENVIRONMENT, **(environment or {})},
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise Internal(f"cannot start {argv[0]!r}: {error.strerror or error}") from error
    try:
        if started is not None:
            started(transport.get_pid())
        if stdin:
            pipe = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
            pipe.write(stdin)
            pipe.write_eof()
        async with asyncio.timeout(timeout):
            await asyncio.shield(collector.exited)
        if stderr is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await collector.closed
    except (TimeoutError, asyncio.CancelledError) as error:
        await _end(transport, collector)
        if isinstance(error, asyncio.CancelledError):
            raise
        raise DeadlineExceeded(f"{argv[0]!r} did not end within {timeout} seconds") from None
    finally:
        _kill(transport)
        transport.close()
    status = transport.get_returncode()
    assert status is not None
    return Finished(tuple(argv), status, bytes(collector.output[1]), bytes(collector.output[2]))


class Running:
    """A program that runs with files of the caller's as its standard streams."""

    def __init__(self, transport: asyncio.SubprocessTransport, exited: "asyncio.Future[None]") -> None:
        self.pid = transport.get_pid()
        self._transport = transport
        self._exited = exited

    async def wait(self) -> int:
        """Its exit status, or minus the number of the signal that killed it. Leaves it running when cancelled."""
        await asyncio.shield(self._exited)
        status = self._transport.get_returncode()
        assert status is not None
        return status

    def close(self) -> None:
        """Kills it, with its process group, if it still runs. Must be called in the end."""
        _kill(self._transport)
        self._transport.close()


class _Watcher(asyncio.SubprocessProtocol):
    def __init__(self) -> None:
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def process_exited(self) -> None:
        self.exited.set_result(None)


async def spawn(argv: Sequence[str], *, stdin: int, stdout: int, stderr: int, pass_fds: Sequence[int] = ()) -> Running:
    """Starts a program in a session of its own; the files may be subprocess.DEVNULL. Raises Internal."""
    try:
        transport, watcher = await asyncio.get_running_loop().subprocess_exec(
            _Watcher,
            *argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=ENVIRONMENT,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    except OSError as error:
        raise Internal(f"cannot start {argv[0]!r}: {error.strerror or error}") from error
    return Running(transport, watcher.exited)


async def _end(transport: asyncio.SubprocessTransport, collector: _Collector) -> None:
    """Kills, and waits for the end, so that nobody undoes what is still being done."""
    _kill(transport)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await asyncio.shield(collector.exited)


def _kill(transport: asyncio.SubprocessTransport) -> None:
    if transport.get_returncode() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), signal.SIGKILL)


def prepare_loop() -> None:
    """Makes Python 3.11 wait for programs by pidfd, as later ones do by themselves; call it in the running loop."""
    if sys.version_info >= (3, 12):
        return
    policy = asyncio.get_event_loop_policy()
    watcher = asyncio.PidfdChildWatcher()
    watcher.attach_loop(asyncio.get_running_loop())
    policy.set_child_watcher(watcher)
