"""StopContainer: the stop signal, a grace period that later calls may shorten, then the whole cgroup dies.

There is one loop per container, however many calls wait for it; they end when the exit is recorded (exits.py).
"""

import asyncio
import contextlib
import logging
import signal

from podwright.core import exits
from podwright.core.runtime import Runtime
from podwright.errors import DeadlineExceeded, Unavailable
from podwright.state.records import Container, Stopping
from podwright.trace import step

logger = logging.getLogger(__name__)

KILL_SECONDS = 30.0
"""How long a call waits for a killed container; processes in uninterruptible sleep can defy SIGKILL for ever."""
KILL_AGAIN_SECONDS = 2.0
THAW_SECONDS = 1.0


async def stop_container(runtime: Runtime, container: Container, grace: float) -> None:
    """Stops the container within `grace` seconds; 0 kills at once. Succeeds if it has exited already.

    Raises DeadlineExceeded if it survives SIGKILL for long; killing goes on. Raises Unavailable if the daemon leaves
    within the grace period, which may be long.
    """
    if container.status.phase in ("exited", "removing"):
        return
    loop = asyncio.get_running_loop()
    deadline = loop.time() + grace
    stopping = container.stopping
    if stopping is None or stopping.task is None or stopping.task.done():
        stopping = container.stopping = Stopping(deadline)
        stopping.task = runtime.operations.detach(
            _bring_down(runtime, container, stopping), f"stop of {container.title}"
        )
    else:
        stopping.shorten(deadline)
    exited = asyncio.ensure_future(container.exited.wait())
    try:
        async with asyncio.timeout_at(deadline + KILL_SECONDS):
            await asyncio.wait({exited, stopping.task}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await stopping.task  # it has failed, or sees that the exit has just been recorded
    except TimeoutError:
        raise DeadlineExceeded(
            f"container {container.title} is still there {KILL_SECONDS:.0f} seconds after SIGKILL: "
            "a process of it may be in uninterruptible sleep"
        ) from None
    finally:
        exited.cancel()
    await runtime.nri.stop_container(container)


async def _bring_down(runtime: Runtime, container: Container, stopping: Stopping) -> None:
    loop = asyncio.get_running_loop()
    if container.status.process is None:  # made of a checkpoint, or without hope
        async with container.lock:  # which may be being started
            status = container.status
            if status.process is None and not container.exited.is_set():
                await exits.end_unstarted(runtime, container, "Error", "it was stopped before it was started")
                return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(stopping.deadline), container.lock:
            pass  # a start under way has ended, and there is somebody to take the signal
    if container.status.phase == "running" and stopping.deadline > loop.time():
        with step("container.signal", container.id):
            assert container.status.process is not None
            container.status.process.kill(container.facts.stop_signal)
        while not container.exited.is_set() and (left := stopping.deadline - loop.time()) > 0:
            await _first_of({container.exited, stopping.sooner, runtime.operations.leaving}, left)
            stopping.sooner.clear()
            if runtime.operations.leaving.is_set() and not container.exited.is_set():
                raise Unavailable(f"the daemon leaves before container {container.title} has stopped: try again")
    while not container.exited.is_set():
        with step("container.kill", container.id):
            await asyncio.to_thread(_kill, runtime, container)
        await _first_of({container.exited}, KILL_AGAIN_SECONDS)


async def _first_of(events: set[asyncio.Event], seconds: float) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _kill(runtime: Runtime, container: Container) -> None:
    runtime.host.cgroups.kill(container.status.cgroup, seconds=KILL_AGAIN_SECONDS)
    if container.status.process is not None:
        container.status.process.kill(signal.SIGKILL)
    if container.thaw is not None:  # it is being checkpointed, and on cgroup v1 nobody dies who is frozen
        with contextlib.suppress(OSError):  # criu may freeze it again; there is another round
            runtime.host.cgroups.freeze(container.status.cgroup, frozen=False, seconds=THAW_SECONDS)
