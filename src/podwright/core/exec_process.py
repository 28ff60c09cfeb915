"""What ExecSync and Exec have in common: when a command may run in a container, what describes it, and what ends it.

Each command has a directory below the container's bundle as long as it runs. It is the record by which a later daemon
knows what was running when this one was killed. The command carries a mark in its environment, by which its
processes are found wherever they have forked to.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podwright.core.runtime import Runtime
from podwright.errors import FailedPrecondition, Internal, InvalidArgument, PodwrightError
from podwright.ids import new_id
from podwright.kernel import process
from podwright.oci import complaints, documents
from podwright.oci import process as oci_process
from podwright.oci.execution import Files, read_log
from podwright.state.records import Container

logger = logging.getLogger(__name__)

MARK = "PODWRIGHT_EXEC"
DEATH_SECONDS = 5.0
"""How long the processes of a killed command may take to die before nobody waits for them any more."""
ROUND_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Described:
    """A command that is about to run, or runs."""

    directory: str
    exec_id: str
    oom_score_adj: int | None
    """What the OCI runtime must be given, where it lets the process inherit its own and that would be another."""
    owner: tuple[int, int]
    """User and group of the process, by the host's numbers."""

    @property
    def mark(self) -> bytes:
        """The entry of its environment by which its processes are found."""
        return f"{MARK}={self.exec_id}".encode()

    @property
    def process_file(self) -> str:
        """The process in the OCI runtime specification's form."""
        return f"{self.directory}/process.json"

    @property
    def pid_file(self) -> str:
        """Written by the OCI runtime when the command runs."""
        return f"{self.directory}/pid"

    @property
    def log_file(self) -> str:
        """The OCI runtime's own words."""
        return f"{self.directory}/log"

    def pid(self) -> int | None:
        """The number of the process; None if it was not run."""
        try:
            with open(self.pid_file, encoding="ascii") as file:
                return int(file.read() or "0") or None
        except FileNotFoundError:
            return None


def check(container: Container) -> None:
    """Raises FailedPrecondition unless commands can run in the container.

    They still can during the grace period of a stop, which is when people look at what a container is waiting for;
    not any more once it is being killed.
    """
    if container.status.phase != "running":
        raise FailedPrecondition(
            f"container {container.title} is {container.status.phase}: commands need a running one"
        )
    if container.stopping is not None and container.stopping.deadline <= asyncio.get_running_loop().time():
        raise FailedPrecondition(f"container {container.title} is being killed: commands need a running one")


async def wait_until_possible(container: Container) -> None:
    """As check, but a container that is frozen for a checkpoint is waited for."""
    if container.thaw is not None:
        await container.thaw.wait()
    check(container)


def check_command(command: Sequence[str]) -> None:
    """Raises InvalidArgument for a command that no process can have."""
    oci_process.check_command(command)


def describe(
    runtime: Runtime,
    container: Container,
    command: Sequence[str],
    *,
    tty: bool = False,
    size: Mapping[str, int] | None = None,
) -> Described:
    """Writes down what is to be run. Blocking. Raises InvalidArgument, FailedPrecondition if the container has gone."""
    exec_id = new_id()
    try:
        with open(f"{runtime.paths.bundle(container.id)}/config.json", "rb") as config:
            spec = json.load(config)
    except FileNotFoundError:
        raise FailedPrecondition(f"container {container.title} was removed meanwhile") from None
    document = oci_process.for_exec(spec, command, [f"{MARK}={exec_id}"], tty=tty)
    if size is not None:
        document["consoleSize"] = dict(size)
    score = document.get("oomScoreAdj")
    inherits = runtime.handler_of(container).features.flavour == "crun" and score != runtime.host.oom_score_adj
    directory = runtime.paths.exec(container.id, exec_id)
    described = Described(directory, exec_id, score if inherits else None, oci_process.owner(spec))
    os.mkdir(described.directory, 0o700)
    try:
        documents.write(document, described.process_file)
    except BaseException:
        forget(described)
        raise
    return described


def console(runtime: Runtime, described: Described) -> str:
    """Where the command's terminal is handed over."""
    return f"{runtime.paths.consoles}/{described.exec_id[:16]}"


def files(runtime: Runtime, described: Described) -> Files:
    """Where the OCI runtime reads and writes for the command."""
    return Files(described.process_file, described.pid_file, described.log_file, console(runtime, described))


def not_run(container: Container, command: Sequence[str], described: Described, status: int) -> PodwrightError:
    """Why the OCI runtime, by its own words, has not got as far as the command."""
    words = complaints.plain(read_log(described.log_file)) or f"the OCI runtime ended with status {status}"
    if complaints.field_at_fault(words) == "command":
        return InvalidArgument(f'cmd: "{command[0]}" cannot be run in container {container.title}: {words}')
    first = container.status.process
    if container.status.phase != "running" or first is None or not first.alive():
        return FailedPrecondition(f"container {container.title} has ended before the command ran: {words}")
    return Internal(f"cannot run {command[0]!r} in container {container.title}: {words}")


def forget(described: Described) -> None:
    """Removes the record of a command that has ended."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(described.directory)


def kill(runtime: Runtime, container: Container, mark: bytes) -> None:
    """Kills until nobody with the mark is left; those who fork meanwhile are found in the next round. Blocking.

    Gives up on those who do not die: they have the signal, and are in uninterruptible sleep, or frozen.
    """
    cgroups, cgroup = runtime.host.cgroups, container.status.cgroup
    deadline = time.monotonic() + DEATH_SECONDS
    while marked := process.with_environment(cgroups.processes(cgroup), mark):
        for pid in process.descendants(marked):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            logger.warning("processes of a command in %s do not die: %s", container.title, sorted(marked))
            return
        time.sleep(ROUND_SECONDS)


def sweep(runtime: Runtime, container: Container) -> None:
    """Kills the commands that an earlier daemon has left behind: nobody can have their output any more. Blocking."""
    bundle = runtime.paths.bundle(container.id)
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(bundle):
            if name.startswith("exec-"):
                left = Described(f"{bundle}/{name}", name.removeprefix("exec-"), None, (0, 0))
                kill(runtime, container, left.mark)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(console(runtime, left))
                forget(left)
