"""ExecSync: a command in a running container, without streams.

The OCI runtime's `exec` is our child and waits for the command: no monitor, no daemon of its own. When the command's
time is over, everything below it, in its session, or with its mark is killed (exec_process.py).
"""

import asyncio
import dataclasses

from podwright.core import exec_process
from podwright.core.runtime import Runtime
from podwright.errors import DeadlineExceeded
from podwright.kernel.run import Finished
from podwright.oci import execution
from podwright.state.records import Container
from podwright.trace import step

OUTPUT_LIMIT = (16 << 20) - 1024
"""Bytes of output; the rest is dropped (CVE-2022-1708, CVE-2022-31030). Peers keep 16 MiB of each stream, and a kubelet
or crictl, which take messages of 16 MiB, then gets an error for an answer. What is left here is for the frame.
"""


async def execute(runtime: Runtime, container: Container, command: list[str], seconds: float | None) -> Finished:
    """Runs the command and returns its exit code and output: OUTPUT_LIMIT of both streams together, of which each has
    half where both are long.

    Returns although children of the command that go on hold its output open. Raises FailedPrecondition if the
    container does not run or is being killed, InvalidArgument if there is no such command, DeadlineExceeded after
    `seconds`.
    """
    await exec_process.wait_until_possible(container)
    # Not by a thread, which would take longer to wake than these small files, in memory, take to write: probes ask
    # for this all the time.
    described = exec_process.describe(runtime, container, command)
    try:
        with step("container.exec", container.id):
            handler = runtime.handler_of(container)
            done = await execution.finish(
                handler.runtime,
                handler.features,
                container.id,
                exec_process.files(runtime, described),
                oom_score_adj=described.oom_score_adj,
                limit=OUTPUT_LIMIT,
                timeout=seconds,
            )
        if done.status != 0 and described.pid() is None:
            raise exec_process.not_run(container, command, described, done.status)
    except (DeadlineExceeded, asyncio.CancelledError) as error:
        await asyncio.shield(asyncio.to_thread(exec_process.kill, runtime, container, described.mark))
        if isinstance(error, DeadlineExceeded):
            raise DeadlineExceeded(f"command {command[0]!r} in {container.title} timed out after {seconds} s") from None
        raise
    else:
        return _cut(done)
    finally:
        exec_process.forget(described)


def _cut(done: Finished) -> Finished:
    """What fits into one answer."""
    if len(done.stdout) + len(done.stderr) <= OUTPUT_LIMIT:
        return done
    stderr = done.stderr[: max(OUTPUT_LIMIT // 2, OUTPUT_LIMIT - len(done.stdout))]
    return dataclasses.replace(done, stdout=done.stdout[: OUTPUT_LIMIT - len(stderr)], stderr=stderr)
