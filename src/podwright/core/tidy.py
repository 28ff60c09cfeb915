"""Bringing unfinished business to its end: what a crash, or a failed clean-up, has left half-made or half-removed.

Runs at the start and then every few seconds; most of the time there is nothing to do, and finding that out costs
a look at the records in memory.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from typing import Any

from podwright.core.container_remove import remove_container
from podwright.core.ledger import Kind
from podwright.core.runtime import Runtime
from podwright.core.sandbox_remove import remove_sandbox
from podwright.core.sandbox_run import abandon_sandbox
from podwright.core.sandbox_stop import LIVE, stop_sandbox
from podwright.errors import PodwrightError
from podwright.state.records import Container, Sandbox
from podwright.trace import step

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 10.0
AT_ONCE = 16
CHECKPOINT: set[Kind] = {"checkpoint", "frozen"}
"""What a checkpoint under way has; one that is cut off by the daemon's end is given up."""


async def tidy_for_ever(runtime: Runtime) -> None:
    """Tidies up now, and again and again; ends by cancellation."""
    while True:
        await tidy(runtime)
        await asyncio.sleep(PERIOD_SECONDS)
        runtime.events.forget_old()
        runtime.stats.forget_idle()
        try:
            await runtime.timeline.flush()
        except PodwrightError as error:
            logger.warning("timelines: %s", error)


async def tidy(runtime: Runtime) -> None:
    """Finishes what can be finished. What fails is logged, and is tried again the next time."""
    unfinished = [*_unfinished(runtime), *_cut_off_checkpoints(runtime)]
    if not unfinished:
        return
    room = asyncio.Semaphore(AT_ONCE)

    async def attempt(what: str, work: Coroutine[Any, Any, None]) -> None:
        async with room:
            try:
                await work
            except (PodwrightError, OSError) as error:
                logger.warning("%s: %s", what, error)
            except Exception:  # a mistake of ours with one object must not end the care for all others
                logger.exception("%s", what)

    with step("tidy"):
        await asyncio.gather(*(attempt(what, work) for what, work in unfinished))


def _unfinished(runtime: Runtime) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    """All that is neither as it should be nor being worked on this moment: work holds the lock of its object."""
    for container in list(runtime.index.containers.values()):
        if container.lock.locked():
            continue
        if container.status.phase in ("creating", "removing"):
            yield f"removing container {container.title}", remove_container(runtime, container)
        elif container.status.phase == "exited" and _has(runtime, container, {"container", "mount"}):
            yield f"cleaning up container {container.title}", _release(runtime, container, {"container", "mount"})
    for sandbox in list(runtime.index.sandboxes.values()):
        if sandbox.lock.locked():
            continue
        if sandbox.status.phase == "creating":
            yield f"undoing sandbox {sandbox.title}", _abandon_sandbox(runtime, sandbox)
        elif sandbox.status.phase == "stopped" and _is_not_stopped(runtime, sandbox):
            yield f"stopping sandbox {sandbox.title}", stop_sandbox(runtime, sandbox)
        elif sandbox.status.phase == "stopped" and _has(runtime, sandbox, {"pin"}):
            yield f"letting go the network of sandbox {sandbox.title}", _release(runtime, sandbox, {"pin"})
        elif sandbox.status.phase == "removing":
            yield f"removing sandbox {sandbox.title}", remove_sandbox(runtime, sandbox)
    known = runtime.index.sandboxes.keys() | runtime.index.containers.keys()
    for owner in runtime.ledger.owners() - known:
        yield f"cleaning up after {owner}", runtime.ledger.release(owner)


def _cut_off_checkpoints(runtime: Runtime) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
    owners: list[Container | Sandbox] = [*runtime.index.sandboxes.values(), *runtime.index.containers.values()]
    for owner in owners:
        if not owner.checkpoints and _has(runtime, owner, CHECKPOINT):
            yield f"giving up a checkpoint of {owner.title}", _release(runtime, owner, CHECKPOINT)


def _has(runtime: Runtime, owner: Container | Sandbox, kinds: set[Kind]) -> bool:
    return any(resource.kind in kinds for resource in runtime.ledger.of(owner.id))


def _is_not_stopped(runtime: Runtime, sandbox: Sandbox) -> bool:
    """Whether more is left of a sandbox that is being stopped than what waits for its network (release.py, pin)."""
    living = any(c.status.phase not in ("exited", "removing") for c in sandbox.containers.values())
    return living or _has(runtime, sandbox, LIVE - {"pin"})


async def _release(runtime: Runtime, owner: Container | Sandbox, kinds: set[Kind]) -> None:
    async with owner.lock:
        await runtime.ledger.release(owner.id, kinds)


async def _abandon_sandbox(runtime: Runtime, sandbox: Sandbox) -> None:
    async with sandbox.lock:
        if sandbox.id in runtime.index.sandboxes:
            await abandon_sandbox(runtime, sandbox)
