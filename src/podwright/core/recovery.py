"""The start of the daemon, which is always a recovery: what do the records say, and what became of it?

Containers that ran go on running and are watched again; those that ended meanwhile have their exit code in conmon's
file. After a reboot nothing runs any more. What was half-made or half-removed is left to tidy.py.
"""

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Coroutine, Sequence
from typing import Any

from podwright.clock import now_ns
from podwright.core import exec_process, exits
from podwright.core.runtime import Runtime
from podwright.errors import PodwrightError
from podwright.kernel import mounts
from podwright.kernel.process import boot_id
from podwright.state.records import Container, Sandbox
from podwright.trace import step

logger = logging.getLogger(__name__)


async def recover(runtime: Runtime) -> None:
    """Brings the records in line with the host. One bad record never keeps the daemon from starting."""
    give_up = runtime.index.load()
    runtime.ledger.load()
    runtime.timeline.load()
    with step("recovery"):
        await runtime.store.write(*give_up)
        rebooted = await asyncio.to_thread(_is_new_boot, runtime)
        for sandbox in list(runtime.index.sandboxes.values()):
            await _attempt(sandbox, _recover_sandbox(runtime, sandbox, rebooted=rebooted))
        for container in list(runtime.index.containers.values()):
            await _attempt(container, _recover_container(runtime, container, rebooted=rebooted))
        ready = {s.id for s in runtime.index.sandboxes.values() if s.status.phase == "ready"}
        await runtime.network.start(ready)
        await asyncio.to_thread(_mark_boot, runtime)
    logger.info(
        "recovered %d sandboxes and %d containers%s",
        len(runtime.index.sandboxes),
        len(runtime.index.containers),
        " after a reboot" if rebooted else "",
    )


async def _attempt(what: Sandbox | Container, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("cannot recover %s", what.title)


def _is_new_boot(runtime: Runtime) -> bool:
    """Whether the state directory is not the one that this boot's processes belong to."""
    try:
        with open(runtime.paths.boot_marker, encoding="ascii") as marker:
            return marker.read() != boot_id()
    except FileNotFoundError:
        return True


def _mark_boot(runtime: Runtime) -> None:
    with open(runtime.paths.boot_marker, "w", encoding="ascii") as marker:
        marker.write(boot_id())


async def _recover_sandbox(runtime: Runtime, sandbox: Sandbox, *, rebooted: bool) -> None:
    if sandbox.status.phase != "ready":
        return
    if sandbox.status.restoring:
        await runtime.index.update_sandbox(sandbox, phase="removing")  # tidy.py does it
    elif rebooted:
        await runtime.index.update_sandbox(sandbox, phase="stopped", infra=None)
    elif sandbox.status.infra is not None:
        exits.watch_infra(runtime, sandbox)


async def _recover_container(runtime: Runtime, container: Container, *, rebooted: bool) -> None:
    status = container.status
    if status.phase not in ("created", "starting", "running"):
        return
    if rebooted:
        await runtime.index.update_container(
            container,
            phase="exited",
            exit_code=exits.UNKNOWN_EXIT_CODE,
            finished_at=now_ns(),
            reason="Unknown",
            message="the node was restarted",
        )
        return
    if status.monitor is None:  # made of a checkpoint, or without hope
        if status.phase == "starting":
            await exits.end_unstarted(runtime, container, "StartError", "the daemon ended while it was restored")
        return
    if status.phase == "starting":
        # The daemon was killed between the order to start and the news that it was carried out.
        if await _has_started(runtime, container):
            await runtime.index.update_container(container, phase="running")
        else:
            await runtime.index.update_container(container, phase="created", started_at=0)
    exits.watch_container(runtime, container)
    await asyncio.to_thread(exec_process.sweep, runtime, container)


async def _has_started(runtime: Runtime, container: Container) -> bool:
    """Whether the command runs or has run; also if nobody can tell, since then it does not wait to be started."""
    handler = runtime.handlers.get(container.facts.handler)
    try:
        return handler is None or await handler.runtime.state(container.id) != "created"
    except PodwrightError as error:
        logger.warning("has %s been started? %s", container.title, error)
        return True


def find_strays(runtime: Runtime) -> list[str]:
    """Directories of objects that have no record: a power loss may take the last records along. Blocking; for the time
    before anything new is made.
    """
    known = runtime.index.sandboxes.keys() | runtime.index.containers.keys()
    found = []
    for directory in runtime.paths.object_directories():
        with contextlib.suppress(FileNotFoundError):
            found += [f"{directory}/{name}" for name in os.listdir(directory) if name not in known]
    return found


def sweep(strays: Sequence[str]) -> None:
    """Removes what find_strays has found. Blocking."""
    for directory in strays:
        logger.warning("removing %s, which belongs to nothing", directory)
        try:
            mounts.umount_below(directory)
            shutil.rmtree(directory)
        except OSError:
            logger.exception("cannot remove %s", directory)
