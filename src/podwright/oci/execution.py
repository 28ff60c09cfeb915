"""A further process in a container, with its streams in our hands, by means of the OCI runtime's `exec`.

The program is our child and ends with the exit code of the process; no monitor is needed. The process gets our pipes,
or a terminal of the container's that is handed over to us by a socket. crun does all that and waits; runc only with
--detach, and then reaper.py waits in its place. Owns the command lines and the descriptors; what may run where is
core's.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import termios
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Self

from podwright.errors import DeadlineExceeded, Internal
from podwright.kernel import process
from podwright.kernel.nonblocking import Fd, pipe, readable
from podwright.kernel.run import Finished, Running, run, spawn
from podwright.oci import reaper
from podwright.oci.features import Features
from podwright.oci.runtime import OciRuntime

CONSOLE_SECONDS = 30.0
"""How long the program may take to make a terminal."""
PIPE_BYTES = 64 << 10
"""What a pipe takes without waiting for somebody to read it (pipe(7))."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams, or a terminal, which is stdin and stdout."""

    tty: bool
    stdin: bool
    stdout: bool
    stderr: bool


class Execution:
    """The process and its streams. `stdin` and `stdout` of a terminal are the same descriptor."""

    def __init__(self, program: Running, streams: "_Streams") -> None:
        self.program = program.pid
        """The number of the OCI runtime's process."""
        self.stdin = streams.stdin
        self.stdout = streams.stdout
        self.stderr = streams.stderr
        self._program = program
        self._terminal = streams.terminal

    def resize(self, winsize: bytes) -> None:
        """Sets the size of the terminal, if there is one; `winsize` is the kernel's struct."""
        if self._terminal is not None and self._terminal.fileno() >= 0:
            with contextlib.suppress(OSError):  # EIO: the process has ended
                fcntl.ioctl(self._terminal.fileno(), termios.TIOCSWINSZ, winsize)

    async def wait(self) -> int:
        """The exit code of the process, 128 + n after signal n; or of the program, if it could not run it."""
        status = await self._program.wait()
        return status if status >= 0 else 128 - status

    @contextlib.contextmanager
    def without_client(self) -> Iterator[None]:
        """In the block the process reads an end of file, or sees its terminal hang up. What it has to say in the end
        is read by nobody, but it does not die of it.
        """
        outputs = [] if self._terminal else [output for output in (self.stdout, self.stderr) if output is not None]
        for stream in (self.stdin, self._terminal):
            if stream is not None:
                stream.close()
        discarding = [asyncio.ensure_future(_discard(output)) for output in outputs]
        try:
            yield
        finally:
            for task in discarding:
                task.cancel()

    def close(self) -> None:
        """Closes everything; kills the program, but not the process, if they still run."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self._program.close()


async def _discard(output: Fd) -> None:
    while await output.read():  # noqa: ASYNC110  the sleep lets others run where there is always more to read
        await asyncio.sleep(0)


@dataclass(slots=True)
class _Streams:
    """Our ends."""

    stdin: Fd | None = None
    stdout: Fd | None = None
    stderr: Fd | None = None
    terminal: Fd | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """Where the program reads and writes; see core/exec_process.py."""

    process: str
    pid: str
    log: str
    console: str
    """A path for a socket, which must be short."""


async def start(
    runtime: OciRuntime,
    features: Features,
    container_id: str,
    files: Files,
    wanted: Wanted,
    *,
    owner: tuple[int, int],
    oom_score_adj: int | None,
) -> Execution:
    """Runs the process that `files` describes. Raises Internal if the program does not start.

    `owner` is who shall be able to open the process's pipes anew, by way of /dev/stdout and its like.

    A process that could not be run shows when the program has ended without writing the pid file.
    """
    with _Description(files.process, oom_score_adj) as description:
        command = _command(runtime, features, files, description.path)
        if wanted.tty:
            command.append(f"--console-socket={files.console}")
            return await _with_terminal([*command, container_id], files.console, description)
        return await _with_pipes([*command, container_id], wanted, owner, description)


async def finish(
    runtime: OciRuntime,
    features: Features,
    container_id: str,
    files: Files,
    *,
    oom_score_adj: int | None,
    limit: int,
    timeout: float | None,
) -> Finished:
    """Runs the process that `files` describes to its end; `limit` and `timeout` as in kernel/run.py.

    Without the pid file afterwards it was not run. Raises Internal, DeadlineExceeded.
    """
    with _Description(files.process, oom_score_adj) as description:
        command = [*_command(runtime, features, files, description.path), container_id]
        return await run(
            command, limit=limit, timeout=timeout, pass_fds=description.pass_fds, started=description.hand_over
        )


def _command(runtime: OciRuntime, features: Features, files: Files, described: str) -> list[str]:
    """The command line, without the container's id; `described` is the path of the description."""
    command = [
        *(runtime.program, *runtime.arguments(), f"--log={files.log}", "--log-format=json", "exec"),
        *(f"--process={described}", f"--pid-file={files.pid}"),
    ]
    if not features.hands_over_console:
        command = [sys.executable, "-I", "-S", reaper.__file__, files.pid, *command, "--detach"]
    return command


class _Description:
    """The file that describes the process; or, with an oom_score_adj, a pipe that it comes through.

    crun takes no notice of the process's oomScoreAdj, and lets it inherit its own, which must be right before it
    starts anything. So it is set from here, while crun waits to read what it shall do.
    """

    def __init__(self, file: str, oom_score_adj: int | None) -> None:
        self._file = file
        self._score = oom_score_adj
        self._ends: list[int] = []
        self.path = file
        """Where the program finds it."""
        self.pass_fds: tuple[int, ...] = ()
        """What the program must be given for that."""

    def __enter__(self) -> Self:
        if self._score is not None:
            self._ends = list(os.pipe2(os.O_CLOEXEC))
            self.pass_fds = (self._ends[0],)
            self.path = f"/proc/self/fd/{self._ends[0]}"
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            os.close(end)

    def hand_over(self, program: int) -> None:
        """Gives it to the program that has been started."""
        if self._score is None:
            return
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended already
            process.set_oom_score_adj(program, self._score)
        with open(self._file, "rb") as file:
            text = file.read()
        reading, writing = self._ends
        self._ends = []
        os.close(reading)
        if len(text) <= PIPE_BYTES:
            _write_and_close(writing, text)
        else:
            asyncio.get_running_loop().run_in_executor(None, _write_and_close, writing, text)


def _write_and_close(number: int, text: bytes) -> None:
    with open(number, "wb", buffering=0) as pipe, contextlib.suppress(BrokenPipeError):  # the program has ended
        rest = memoryview(text)
        while rest:
            rest = rest[pipe.write(rest) :]


async def _spawn(command: list[str], description: _Description, *, stdin: int, stdout: int, stderr: int) -> Running:
    program = await spawn(command, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=description.pass_fds)
    try:
        description.hand_over(program.pid)
    except BaseException:
        program.close()
        raise
    return program


async def _with_pipes(
    command: list[str], wanted: Wanted, owner: tuple[int, int], description: _Description
) -> Execution:
    ours, theirs = _Streams(), [subprocess.DEVNULL] * 3
    try:
        if wanted.stdin:
            theirs[0], writing = _pipe(owner)
            ours.stdin = Fd(writing)
        if wanted.stdout:
            reading, theirs[1] = _pipe(owner)
            ours.stdout = Fd(reading)
        if wanted.stderr:
            reading, theirs[2] = _pipe(owner)
            ours.stderr = Fd(reading)
        stdin, stdout, stderr = theirs
        program = await _spawn(command, description, stdin=stdin, stdout=stdout, stderr=stderr)
    except BaseException:
        _close(ours)
        raise
    finally:
        for number in theirs:
            if number >= 0:
                os.close(number)
    return Execution(program, ours)


def _pipe(owner: tuple[int, int]) -> tuple[int, int]:
    reading, writing = pipe()
    os.fchown(reading, *owner)  # both ends are one file
    return reading, writing


async def _with_terminal(command: list[str], path: str, description: _Description) -> Execution:
    null = subprocess.DEVNULL
    with _listening(path) as listener:
        program = await _spawn(command, description, stdin=null, stdout=null, stderr=null)
        try:
            terminal = await _first_of(_receive_terminal(listener), program)
        except BaseException:
            program.close()
            raise
    return Execution(program, _of_terminal(terminal))


def _of_terminal(number: int | None) -> _Streams:
    if number is None:
        return _Streams()
    terminal = Fd(number)
    return _Streams(stdin=terminal, stdout=terminal, terminal=terminal)


@contextlib.contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        try:
            listener.listen(1)
            listener.setblocking(False)
            yield listener
        finally:
            os.unlink(path)


async def _receive_terminal(listener: socket.socket) -> int:
    connection, _ = await asyncio.get_running_loop().sock_accept(listener)
    with connection:
        await readable(connection.fileno())
        _, numbers, _, _ = socket.recv_fds(connection, 4096, 1)
    if not numbers:
        raise Internal("the OCI runtime handed over no terminal")
    os.set_inheritable(numbers[0], False)
    return numbers[0]


async def _first_of(receiving: Coroutine[Any, Any, int], program: Running) -> int | None:
    """The terminal, or None if the program has ended without one: `wait` will tell why."""
    terminal = asyncio.ensure_future(receiving)
    ended = asyncio.ensure_future(program.wait())
    try:
        await asyncio.wait({terminal, ended}, timeout=CONSOLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if terminal.done():
            return terminal.result()
        if ended.done():
            return None
        raise DeadlineExceeded(f"the OCI runtime made no terminal within {CONSOLE_SECONDS:.0f} seconds")
    finally:
        terminal.cancel()
        ended.cancel()


def _close(streams: _Streams) -> None:
    for stream in (streams.stdin, streams.stdout, streams.stderr):
        if stream is not None:
            stream.close()


def read_log(path: str) -> str:
    """The errors in a program's log; empty if there are none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [json.loads(line) for line in file.read()[-8000:].splitlines() if line.startswith("{")]
    except (FileNotFoundError, ValueError):
        return ""
    return "; ".join(str(line.get("msg", "")).strip() for line in lines if line.get("level") in ("error", "fatal"))
