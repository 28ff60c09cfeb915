"""Driving an OCI runtime (crun, runc or another with their command line) for containers that conmon has made.

Owns the command lines. What a container is like is said by its bundle (spec.py); who watches it, by conmon.py.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podwright.errors import FailedPrecondition, Internal, InvalidArgument, NotFound
from podwright.kernel.process import Pid
from podwright.kernel.run import run
from podwright.oci import complaints

COMMAND_SECONDS = 60.0
"""How long any command but exec may take. They take milliseconds; a hung disk or cgroup must not hold an RPC for
ever.
"""


def criu_errors(log: str) -> str:
    """What went wrong, out of a log of criu's; empty if there is no such file."""
    try:
        with open(log, encoding="utf-8", errors="replace") as lines:
            errors = [line.partition("Error ")[2].strip() for line in lines if "Error " in line]
    except FileNotFoundError:
        return ""
    return "; ".join(errors)[-2000:]


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """One handler: an OCI runtime program with the options we run it with."""

    name: str
    program: str
    root: str
    """Where the program keeps its state; lives as long as the processes do."""
    systemd_cgroup: bool

    def arguments(self) -> list[str]:
        """The global options."""
        return [f"--root={self.root}", *(["--systemd-cgroup"] if self.systemd_cgroup else [])]

    def command(self, *arguments: str) -> list[str]:
        """A command line."""
        return [self.program, *self.arguments(), *arguments]

    def knows(self, container_id: str) -> bool:
        """Whether there is any state of the container."""
        return os.path.isdir(f"{self.root}/{container_id}")

    async def run_detached(self, container_id: str, bundle: str) -> Pid:
        """Makes and starts a container that nobody watches; returns its first process.

        Raises Internal with the program's own words.
        """
        # Its output goes to a file: the container holds it open, and would hold pipes of ours.
        errors, pid_file = f"{bundle}/errors", f"{bundle}/pid"
        command = self.command("run", "--detach", "--bundle", bundle, "--pid-file", pid_file, container_id)
        stderr = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            done = await run(command, stderr=stderr, timeout=COMMAND_SECONDS)
        finally:
            os.close(stderr)
        if done.status != 0:
            raise Internal(f"{self.name} cannot run the container: {_text(errors)[-2000:]}")
        try:
            return Pid.of(int(_text(pid_file)))
        except ProcessLookupError:
            raise Internal("the container ended as soon as it was started") from None

    async def start(self, container_id: str) -> None:
        """Runs the command of a created container."""
        (await run(self.command("start", container_id), timeout=COMMAND_SECONDS)).check("cannot start the container")

    async def state(self, container_id: str) -> str:
        """created, running, paused or stopped. Raises NotFound."""
        if not self.knows(container_id):
            raise NotFound(f'{self.name} has no container "{container_id}"')
        done = await run(self.command("state", container_id), timeout=COMMAND_SECONDS)
        return str(json.loads(done.check("cannot read the state of the container").stdout)["status"])

    async def update(self, container_id: str, resources: Mapping[str, Any]) -> None:
        """Changes cgroup limits. `resources` has the form of linux.resources in the OCI runtime specification.

        Raises InvalidArgument if the kernel refuses a value, FailedPrecondition if it does not fit what is in use.
        """
        document = json.dumps(resources).encode()
        done = await run(self.command("update", "--resources=-", container_id), stdin=document, timeout=COMMAND_SECONDS)
        words = complaints.plain(done.stderr.decode(errors="replace"))
        if done.status != 0 and complaints.is_busy(words):
            raise FailedPrecondition(f"linux: the limits are below what is in use: {words}")
        if done.status != 0 and complaints.field_at_fault(words) == "linux.resources":
            raise InvalidArgument(f"linux: the kernel refuses a limit: {words}")
        done.check("cannot update the limits of the container")

    async def checkpoint(self, container_id: str, images: str, work: str) -> None:
        """Has criu write the container's processes into the directory `images`; they run on, or stay frozen if they
        were. criu's log goes to the directory `work`.

        Killing it half-way would leave the processes with foreign code in them: so there is no time limit, and the
        caller must not be cancelled. Raises Internal with criu's words.
        """
        command = self.command(
            "checkpoint",
            *("--image-path", images, "--work-path", work, "--leave-running"),
            *("--tcp-established", "--ext-unix-sk", "--file-locks"),
            container_id,
        )
        done = await run(command)
        if done.status != 0:
            words = criu_errors(f"{work}/dump.log") or done.stderr.decode(errors="replace").strip()
            raise Internal(f"{self.name} cannot checkpoint the container: {words or f'status {done.status}'}")

    async def delete(self, container_id: str) -> None:
        """Kills and forgets a container, whatever state a crash has left it in. Succeeds if it is not there."""
        if not self.knows(container_id):
            return
        done = await run(self.command("delete", "--force", container_id), timeout=COMMAND_SECONDS)
        if done.status != 0 and self.knows(container_id):
            # Killed in the middle of create, the program has left half a state, which it cannot read itself.
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(f"{self.root}/{container_id}")


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()
