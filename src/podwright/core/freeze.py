"""Freezing containers for a checkpoint: all of them before any is written, and none for longer than need be.

A frozen container is in the ledger. Whatever becomes of this daemon meanwhile, the next one lets it run on
(core/release.py, core/tidy.py).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from podwright.core.concurrent import all_of
from podwright.core.ledger import Kind
from podwright.core.runtime import Runtime
from podwright.errors import Internal
from podwright.state.records import Container
from podwright.trace import step


@contextlib.asynccontextmanager
async def frozen(runtime: Runtime, owner: str, containers: Mapping[str, Container]) -> AsyncIterator[None]:
    """Freezes the containers, whose keys are the directories that criu will write to, and thaws them at the end.

    `owner` has them in the ledger. Commands for them wait meanwhile: criu refuses processes that come and go. Raises
    Internal if one does not freeze: a process of it may be in uninterruptible sleep.
    """
    rows: list[tuple[Kind, Mapping[str, str]]] = [
        ("frozen", {"cgroup": container.status.cgroup, "images": images}) for images, container in containers.items()
    ]
    await runtime.store.write(*runtime.ledger.enter(owner, *rows))
    thaw = asyncio.Event()
    for container in containers.values():
        container.thaw = thaw
    try:
        with step("checkpoint.freeze", owner):
            await all_of([asyncio.to_thread(_freeze, runtime, container) for container in containers.values()])
        yield
    finally:
        try:
            await runtime.ledger.release(owner, {"frozen"})
        finally:
            for container in containers.values():
                container.thaw = None
            thaw.set()


def _freeze(runtime: Runtime, container: Container) -> None:
    try:
        runtime.host.cgroups.freeze(container.status.cgroup, frozen=True)
    except OSError as error:
        raise Internal(f"container {container.title} cannot be frozen: {error}") from error
