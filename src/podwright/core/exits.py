"""Exits: noticing that a container's conmon has ended, and finding out what became of the container.

A pidfd tells, so nothing is polled. conmon ends after it has written the log and the exit file; a conmon that was
killed leaves no file, then the container is killed too and its exit code is unknown (255).
"""

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from podwright.clock import now_ns
from podwright.core.runtime import Runtime
from podwright.errors import PodwrightError
from podwright.kernel import oom, process
from podwright.kernel.process import Pid
from podwright.oci import conmon
from podwright.state.records import Container, Sandbox
from podwright.trace import step

logger = logging.getLogger(__name__)

DEATH_SECONDS = 5.0
"""How long the last processes of a container may take to die before it counts as exited all the same."""
RETRY_SECONDS = 2.0
UNKNOWN_EXIT_CODE = 255
"""Of a container whose end nobody saw. Kubelets treat it as any other failure."""
UNSTARTED_EXIT_CODE = 128
"""Of a container that has never run, as Docker and containerd have it."""


def watch(runtime: Runtime, pid: Pid, ended: Callable[[], Coroutine[Any, Any, None]], doing: str) -> None:
    """Runs `ended` when the process has ended, at once if it already has."""
    loop = asyncio.get_running_loop()
    fd = pid.open()
    if fd is None:
        runtime.operations.detach(ended(), doing, contextvars.Context())
        return

    def readable() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        if runtime.operations.over:
            return
        runtime.operations.detach(ended(), doing, contextvars.Context())

    loop.add_reader(fd, readable)


def watch_container(runtime: Runtime, container: Container) -> None:
    """Watches over a created container until its end."""
    assert container.status.monitor is not None
    watch(runtime, container.status.monitor, lambda: _ended(runtime, container), f"exit of {container.title}")


async def _ended(runtime: Runtime, container: Container) -> None:
    """Sees to it that the end is recorded, even if that fails for now, such as on a full disk."""
    while True:
        try:
            return await container_exited(runtime, container)
        except PodwrightError:
            logger.exception("the exit of %s cannot be recorded: trying again", container.title)
        await asyncio.sleep(RETRY_SECONDS)


async def container_exited(runtime: Runtime, container: Container) -> None:
    """Records the end of a container, whose conmon has ended, and releases what only a living one needs."""
    async with container.lock:
        if container.status.phase in ("created", "starting", "running"):
            with step("container.exit", container.id):
                await _record(runtime, container)
        try:
            await runtime.ledger.release(container.id, {"container", "mount"})
        except PodwrightError as error:  # RemoveContainer, or the next start, tries again
            logger.warning("%s has exited, but: %s", container.title, error)
    await runtime.nri.stop_container(container)


async def _record(runtime: Runtime, container: Container) -> None:
    bundle = runtime.paths.bundle(container.id)
    status = container.status
    found = await asyncio.to_thread(conmon.exit_code, runtime.paths.exits, container.id)
    if found is None:
        logger.error("the conmon of %s ended without an exit code: killing the container", container.title)
        if status.process:
            status.process.kill(signal.SIGKILL)
        code, finished = UNKNOWN_EXIT_CODE, now_ns()
        reason, message = "Unknown", "the monitor of the container ended before it"
    else:
        code, finished = found
        out_of_memory = code != 0 and await asyncio.to_thread(_out_of_memory, runtime, status.cgroup, bundle)
        reason = "Completed" if code == 0 else "OOMKilled" if out_of_memory else "Error"
        message = ""
    await asyncio.to_thread(_end_all, runtime, container)
    await runtime.index.update_container(
        container,
        phase="exited",
        exit_code=code,
        finished_at=max(finished, status.started_at),
        reason=status.reason or reason,
        message=status.message or message,
    )
    logger.info("%s has exited with code %d (%s)", container.title, code, reason)


def _end_all(runtime: Runtime, container: Container) -> None:
    """Ends those whom process 1 did not take along: a kubelet takes the volumes of a container that has exited away."""
    cgroups, cgroup = runtime.host.cgroups, container.status.cgroup
    cgroups.kill(cgroup)
    if not cgroups.wait_empty(cgroup, DEATH_SECONDS):
        logger.warning("%s has exited, and processes of it do not die in %s", container.title, cgroup)


async def end_unstarted(runtime: Runtime, container: Container, reason: str, message: str) -> None:
    """Records the end of a container that has no process to end. The caller holds its lock."""
    await asyncio.to_thread(_kill_remains, runtime, container)
    await runtime.index.update_container(
        container,
        phase="exited",
        exit_code=UNSTARTED_EXIT_CODE,
        finished_at=now_ns(),
        reason=reason,
        message=message,
    )
    # Later, without the lock: plugins may wish for something that waits for another one.
    runtime.operations.detach(runtime.nri.stop_container(container), f"news of the end of {container.title}")
    await runtime.ledger.release(container.id, {"container", "mount"})


def _kill_remains(runtime: Runtime, container: Container) -> None:
    """conmon, the OCI runtime and criu of an attempt that has failed or was cut off."""
    for pid in process.descendants(conmon.find_processes(runtime.paths.bundle(container.id))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _out_of_memory(runtime: Runtime, cgroup: str, bundle: str) -> bool:
    """The cgroup's own count; where systemd has removed the cgroup already, what conmon or the kernel's log says."""
    if runtime.host.cgroups.exists(cgroup):
        return runtime.host.cgroups.oom_kills(cgroup) > 0
    if conmon.was_out_of_memory(bundle):
        return True
    try:
        return oom.was_logged(cgroup)
    except OSError as error:
        logger.warning("cannot tell whether %s ran out of memory: %s", cgroup, error)
        return False


def watch_infra(runtime: Runtime, sandbox: Sandbox) -> None:
    """Watches over process 1 of the sandbox's PID namespace: without it the sandbox is no longer ready."""
    assert sandbox.status.infra is not None

    async def ended() -> None:
        if sandbox.status.phase == "ready":
            logger.warning("process 1 of sandbox %s has ended", sandbox.title)
            await runtime.index.update_sandbox(sandbox, phase="stopped")

    watch(runtime, sandbox.status.infra, ended, f"end of the infra process of {sandbox.title}")
