"""ExecSync: a command in a running container, without streams.

The OCI runtime's `exec` is our child and waits for the command: no monitor, no daemon of its own. The command carries
a mark in its environment; when its time is over, everything below it, in its session, or with the mark is killed,
wherever it has forked to.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal

from podwright.core.runtime import Runtime
from podwright.errors import DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument
from podwright.ids import new_id
from podwright.kernel import process
from podwright.kernel.run import Finished
from podwright.oci import documents
from podwright.oci import process as oci_process
from podwright.oci import runtime as oci_runtime
from podwright.state.records import Container
from podwright.trace import step

logger = logging.getLogger(__name__)

OUTPUT_LIMIT = 16 << 20
"""Bytes of each stream; the rest is dropped (CVE-2022-1708, CVE-2022-31030)."""
MARK = "PODWRIGHT_EXEC"


async def execute(runtime: Runtime, container: Container, command: list[str], seconds: float | None) -> Finished:
    """Runs the command and returns its output and exit code.

    Returns although children of the command that go on hold its output open (with crun; runc waits for them). Raises
    FailedPrecondition if the container does not run or is being stopped, InvalidArgument if there is no such command,
    DeadlineExceeded after `seconds`.
    """
    if container.status.phase != "running" or container.stopping is not None:
        state = "being stopped" if container.stopping is not None else container.status.phase
        raise FailedPrecondition(f"container {container.title} is {state}: commands need a running one")
    if container.checkpointing:
        raise FailedPrecondition(f"container {container.title} is being checkpointed: try again")
    exec_id = new_id()
    file = f"{runtime.paths.bundle(container.id)}/exec-{exec_id}"
    mark = f"{MARK}={exec_id}"
    try:
        score = await asyncio.to_thread(_write_process, runtime, container, command, mark, file)
        with step("container.exec", container.id):
            oci = runtime.handlers[container.facts.handler].runtime
            done = await oci.execute(
                container.id, file, f"{file}.pid", oom_score_adj=score, limit=OUTPUT_LIMIT, timeout=seconds
            )
        if done.status != 0 and not await asyncio.to_thread(os.path.exists, f"{file}.pid"):
            raise _not_run(container, command, done)
    except (DeadlineExceeded, asyncio.CancelledError) as error:
        await asyncio.shield(asyncio.to_thread(_kill_marked, runtime, container.status.cgroup, mark.encode()))
        if isinstance(error, DeadlineExceeded):
            raise DeadlineExceeded(f"command {command[0]!r} in {container.title} timed out after {seconds} s") from None
        raise
    else:
        return done
    finally:
        for path in (file, f"{file}.pid"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _write_process(runtime: Runtime, container: Container, command: list[str], mark: str, file: str) -> int | None:
    """Describes the process; returns its oom_score_adj."""
    with open(f"{runtime.paths.bundle(container.id)}/config.json", "rb") as config:
        document = json.load(config)
    described = oci_process.for_exec(document, command, [mark])
    documents.write(described, file)
    score: int | None = described.get("oomScoreAdj")
    return score


def _not_run(container: Container, command: list[str], done: Finished) -> Exception:
    """Why the OCI runtime has not got as far as the command."""
    words = oci_runtime.plain(done.stderr.decode(errors="replace")) or f"status {done.status}"
    if oci_runtime.blames_command(words):
        return InvalidArgument(f'cmd: "{command[0]}" cannot be run in container {container.title}: {words}')
    if container.status.phase != "running":
        return FailedPrecondition(f"container {container.title} has ended before the command ran: {words}")
    return Internal(f"cannot run {command[0]!r} in container {container.title}: {words}")


def _kill_marked(runtime: Runtime, cgroup: str, mark: bytes) -> None:
    """Kills until nobody with the mark is left; those who fork meanwhile are found in the next round."""
    while marked := process.with_environment(runtime.host.cgroups.processes(cgroup), mark):
        for pid in process.descendants(marked):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
