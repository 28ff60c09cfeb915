"""Exec: a command in a running container, with its streams.

It ends by itself, with its container, or when its client leaves. In the last case it is hung up as by a terminal:
SIGHUP to its process group, so that what was put into the background on purpose (nohup) goes on, while a command that
nobody reads any more does not stay behind. One that is still there after HANG_UP_SECONDS is killed.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping, Sequence

from podwright.core import exec_process
from podwright.core.exec_process import Described
from podwright.core.runtime import Runtime
from podwright.kernel import process
from podwright.oci import execution
from podwright.oci.execution import Execution, Wanted
from podwright.state.records import Container
from podwright.trace import step

logger = logging.getLogger(__name__)

HANG_UP_SECONDS = 5.0
LOOK_SECONDS = 0.02
DRAIN_SECONDS = 1.0
"""How long the output is still read after the command's end where a child of it holds it open."""


class ExecSession:
    """A command that runs. `end` must be called."""

    def __init__(
        self,
        runtime: Runtime,
        container: Container,
        command: Sequence[str],
        described: Described,
        running: Execution,
    ) -> None:
        self.stdin = running.stdin
        self.stdout = running.stdout
        self.stderr = running.stderr
        self.resize = running.resize
        self._runtime = runtime
        self._container = container
        self._command = command
        self._described = described
        self._running = running

    async def wait(self) -> int:
        """The exit code, once the command has ended; the output may then be read to its end.

        Raises as exec_process.not_run does if the command could not be run.
        """
        code = await self._running.wait()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.end_soon(DRAIN_SECONDS)
        if self._described.pid() is None:
            raise exec_process.not_run(self._container, self._command, self._described, code)
        return code

    async def end(self) -> None:
        """Ends the command if it still runs, and releases everything. Not to be cancelled."""
        waiting = asyncio.ensure_future(self._running.wait())
        try:
            ended, _ = await asyncio.wait({waiting}, timeout=0)
            if not ended:
                await self._hang_up(waiting)
        finally:
            waiting.cancel()
            self._running.close()
            await asyncio.to_thread(exec_process.forget, self._described)

    async def _hang_up(self, waiting: "asyncio.Future[int]") -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HANG_UP_SECONDS
        with step("container.exec_hang_up", self._container.id), self._running.without_client():
            # runc tells the number when the command is already running, and nobody tells that it has told.
            while (pid := self._described.pid()) is None and not waiting.done() and loop.time() < deadline:
                await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
            if pid is not None:
                await asyncio.to_thread(_send_hang_up, pid, self._running.program)
                await asyncio.wait({waiting}, timeout=max(0, deadline - loop.time()))
            if not waiting.done():
                await asyncio.to_thread(exec_process.kill, self._runtime, self._container, self._described.mark)


def _send_hang_up(pid: int, program: int) -> None:
    """crun leaves a command without a terminal in its own process group, and takes it along when it dies itself."""
    with contextlib.suppress(ProcessLookupError):
        for member in process.group_of(pid) - {program}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGHUP)


async def start(
    runtime: Runtime,
    container: Container,
    command: Sequence[str],
    wanted: Wanted,
    size: Mapping[str, int] | None = None,
) -> ExecSession:
    """Runs the command. `size` is the terminal's at the beginning: width and height.

    Raises FailedPrecondition as exec_process.check does, Internal. A command that cannot be run is reported by
    `ExecSession.wait`.
    """
    await exec_process.wait_until_possible(container)
    described = await asyncio.to_thread(exec_process.describe, runtime, container, command, tty=wanted.tty, size=size)
    handler = runtime.handler_of(container)
    try:
        with step("container.exec", container.id):
            running = await execution.start(
                handler.runtime,
                handler.features,
                container.id,
                exec_process.files(runtime, described),
                wanted,
                owner=described.owner,
                oom_score_adj=described.oom_score_adj,
            )
    except BaseException:
        await asyncio.shield(asyncio.to_thread(exec_process.kill, runtime, container, described.mark))
        await asyncio.shield(asyncio.to_thread(exec_process.forget, described))
        raise
    return ExecSession(runtime, container, command, described, running)
