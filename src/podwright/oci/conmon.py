"""conmon, the small C program beside each container.

It runs the OCI runtime's `create`, owns the container's stdio, writes its log in the CRI format, reaps it, and leaves
a file with the exit code. It outlives this daemon: that is what makes `kill -9` of us harmless. Owns the command line
and the files; what an exit means is core/exits.py's.
"""

import asyncio
import io
import json
import os
import socket
from dataclasses import dataclass

from podwright.errors import DeadlineExceeded, Internal, InvalidArgument
from podwright.kernel import process
from podwright.kernel.process import Pid
from podwright.kernel.run import run
from podwright.oci import complaints
from podwright.oci.runtime import OciRuntime

CREATE_SECONDS = 120.0
_READ_AT_A_TIME = 199  # bytes of a command: CTLBUFSZ - 1 in src/ctrl.c


@dataclass(frozen=True, slots=True)
class Monitored:
    """A created container."""

    container: Pid
    monitor: Pid


@dataclass(frozen=True, slots=True)
class Creation:
    """What conmon has to know."""

    program: str
    runtime: OciRuntime
    container_id: str
    name: str
    executable: str
    """What the container runs; for messages."""
    bundle: str
    """The directory with config.json; conmon's own files go there too."""
    exits: str
    """The directory for files with exit codes."""
    log_path: str = ""
    """Empty for no log."""
    stdin: bool = False
    stdin_once: bool = False
    """stdin is closed when anybody who is attached leaves."""
    terminal: bool = False
    images: str = ""
    """The directory with criu's images of processes, if the container is not to be created but restored from them."""

    def command(self) -> list[str]:
        """The command line (conmon(8)).

        --full-attach keeps the attach socket in the bundle; without it conmon wants a directory to exist, and fails
        in silence if it does not. --no-sync-log: an fsync of the log would hold up the news of the exit, and nothing
        else here survives a power loss either.
        """
        command = [
            self.program,
            *("--api-version", "1", "--cid", self.container_id, "--cuuid", self.container_id, "--name", self.name),
            *("--runtime", self.runtime.program, "--bundle", self.bundle, "--exit-dir", self.exits, "--full-attach"),
            *("--container-pidfile", f"{self.bundle}/pid", "--conmon-pidfile", f"{self.bundle}/conmon.pid"),
            *("--log-path", self.log_path or "off:", "--no-sync-log", "--log-level", "warning"),
        ]
        for argument in self.runtime.arguments():
            command += ["--runtime-arg", argument]
        if self.runtime.systemd_cgroup:
            command.append("--systemd-cgroup")
        if self.images:
            options = (f"--work-path={self.bundle}", "--tcp-established", "--ext-unix-sk", "--file-locks")
            command += ["--restore", self.images]
            for option in options:
                command += ["--runtime-opt", option]
        if self.terminal:
            command.append("--terminal")
        if self.stdin:
            command.append("--stdin")
        if self.stdin and not self.stdin_once:
            command.append("--leave-stdin-open")
        return command


async def create(creation: Creation) -> Monitored:
    """Runs the OCI runtime's `create` under a conmon of its own. Raises InvalidArgument for what image or kernel
    refuse, Internal with the runtime's words, DeadlineExceeded.
    """
    errors = f"{creation.bundle}/conmon.log"
    receiving, sending = os.pipe2(os.O_CLOEXEC)
    with io.FileIO(receiving) as pipe:
        stderr = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            spawned = await run(
                creation.command(),
                environment={"_OCI_SYNCPIPE": str(sending)},
                cwd=creation.bundle,
                pass_fds=[sending],
                stderr=stderr,
                timeout=CREATE_SECONDS,
            )
        finally:
            os.close(stderr)
            os.close(sending)
        if spawned.status != 0:
            raise Internal(f"conmon ended with status {spawned.status}: {_tail(errors)}")
        try:
            async with asyncio.timeout(CREATE_SECONDS):
                line = await _read_line(pipe)
        except TimeoutError:
            raise DeadlineExceeded(f"the container was not created within {CREATE_SECONDS:.0f} seconds") from None
    return _created(line, creation, errors)


async def _read_line(pipe: io.FileIO) -> bytes:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        return await reader.readline()
    finally:
        transport.close()


def _created(line: bytes, creation: Creation, errors: str) -> Monitored:
    """conmon says {"data": pid}, or {"data": -1, "message": what the OCI runtime wrote}; nothing at all if it was
    killed.
    """
    if not line:
        raise Internal(f"conmon ended before the container was created: {_tail(errors)}")
    answer = json.loads(line)
    if answer["data"] < 0:
        message = complaints.plain(str(answer.get("message", ""))) or _tail(errors)
        field = complaints.field_at_fault(message)
        what = f'"{creation.executable}" cannot be run in' if field == "command" else "there can be no"
        if field:
            raise InvalidArgument(f'{field}: {what} container "{creation.name}": {message}')
        raise Internal(f"{creation.runtime.name} cannot create the container: {message}")
    try:
        return Monitored(Pid.of(answer["data"]), Pid.of(_read_pid(f"{creation.bundle}/conmon.pid")))
    except ProcessLookupError:
        raise Internal(f"the container or its conmon ended while it was created: {_tail(errors)}") from None


def _tail(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()[-2000:].strip() or "it says nothing"


def _read_pid(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())


def exit_code(exits: str, container_id: str) -> tuple[int, int] | None:
    """The exit code that conmon has left, and when (nanoseconds since the epoch); None if it has not.

    A process killed by signal n has the code 128 + n.
    """
    path = f"{exits}/{container_id}"
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read()), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def was_out_of_memory(bundle: str) -> bool:
    """Whether conmon has seen the kernel kill for lack of memory."""
    return os.path.exists(f"{bundle}/oom")


def find_processes(bundle: str) -> set[int]:
    """conmon, and the OCI runtime below it, of a creation that a crash of ours has cut off before we knew their
    numbers.
    """
    return process.with_argument(bundle.encode())


def attach(bundle: str) -> socket.socket:
    """Connects to the streams of the container (wire/conmon.py). Raises OSError if no conmon listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    directory = os.open(bundle, os.O_PATH | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{directory}/attach")  # its whole path would be too long for a socket
    except OSError:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def reopen_log(bundle: str) -> None:
    """Asks conmon to open the log's path anew. Raises OSError (ENXIO) if no conmon listens."""
    _write(f"{bundle}/ctl", "2 0 0\n")


def resize(bundle: str, *, width: int, height: int) -> None:
    """Sets the size of the container's terminal.

    Of several lines in its buffer conmon takes the first again and again (read_from_ctrl_buffer, src/ctrl.c), and
    kubectl attach sends two sizes at once. So a line is as long as what it reads at a time, and goes into the pipe
    that conmon itself passes sizes on through.
    """
    _write(f"{bundle}/winsz", f"{f'{height} {width}':<{_READ_AT_A_TIME - 1}}\n")


def _write(pipe: str, command: str) -> None:
    fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(fd, command.encode())
    finally:
        os.close(fd)
