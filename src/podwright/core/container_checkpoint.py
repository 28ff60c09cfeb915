"""CheckpointContainer: a running container into one archive, for looking into it elsewhere; it runs on."""

import asyncio
import contextlib
import logging
import os
import tarfile
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any

from podwright.core import checkpoint_files
from podwright.core.freeze import frozen
from podwright.core.ledger import Kind
from podwright.core.runtime import Runtime
from podwright.errors import Aborted, DeadlineExceeded, FailedPrecondition, InvalidArgument
from podwright.ids import new_id
from podwright.state.records import Container, Sandbox
from podwright.trace import step

logger = logging.getLogger(__name__)


class Wish:
    """Whether the caller still waits. criu must not be stopped half-way, so work whose caller has left goes on until
    that is over, and is undone then.
    """

    def __init__(self) -> None:
        self.given_up = False

    def check(self) -> None:
        """Raises Aborted if nobody wants the result any more."""
        if self.given_up:
            raise Aborted("the caller has left, and so the checkpoint is given up")


async def wanted(runtime: Runtime, work: Coroutine[Any, Any, None], wish: Wish, doing: str) -> None:
    """Waits for the work, which looks at `wish` now and then; cancelled, leaves it to end by itself."""
    task = runtime.operations.detach(work, doing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        wish.given_up = True
        raise


async def checkpoint_container(runtime: Runtime, container: Container, location: str, seconds: float | None) -> None:
    """Writes the archive `location`, readable by root only.

    It is there as a whole or not at all. Raises InvalidArgument, FailedPrecondition if the container does not run or
    the host cannot, DeadlineExceeded after `seconds`, Internal with criu's words.
    """
    checkpoint_files.check_possible(runtime, runtime.handler_of(container))
    if not os.path.isabs(location):
        raise InvalidArgument(f'location: "{location}" is not an absolute path')
    if await asyncio.to_thread(os.path.isdir, location) or not await asyncio.to_thread(
        os.path.isdir, os.path.dirname(location)
    ):
        raise InvalidArgument(f'location: "{location}" is not a path for a file in an existing directory')
    wish = Wish()
    try:
        async with asyncio.timeout(seconds):
            work = _checkpoint(runtime, container, location, wish)
            await wanted(runtime, work, wish, f"checkpoint of {container.title}")
    except TimeoutError:
        raise DeadlineExceeded(
            f"the checkpoint of {container.title} took longer than {seconds} s; it is given up when criu is done"
        ) from None
    logger.info("container %s was written to %s", container.title, location)


async def _checkpoint(runtime: Runtime, container: Container, location: str, wish: Wish) -> None:
    number = new_id()
    staging = f"{runtime.paths.container(container.id)}/archive-{number}"
    partial = f"{location}.{number[:13]}"
    rows: list[tuple[Kind, Mapping[str, str]]] = [("checkpoint", {"path": path}) for path in (staging, partial)]
    with counted(container):
        try:
            async with container.lock:
                check_running(container)
                wish.check()
                await runtime.store.write(*runtime.ledger.enter(container.id, *rows))
                async with frozen(runtime, container.id, {f"{staging}/{checkpoint_files.IMAGES}": container}):
                    await checkpoint_files.capture(runtime, container, staging)
                wish.check()
                with step("checkpoint.describe", container.id):
                    await asyncio.to_thread(checkpoint_files.describe, runtime, container, staging)
            with step("checkpoint.archive", container.id):
                await asyncio.to_thread(_archive, staging, partial)
            wish.check()
            await asyncio.to_thread(os.rename, partial, location)
        finally:
            await runtime.ledger.release(container.id, {"checkpoint"})


@contextlib.contextmanager
def counted(owner: Container | Sandbox) -> Iterator[None]:
    """Says that a checkpoint is under way, whose rows in the ledger are nobody else's business."""
    owner.checkpoints += 1
    try:
        yield
    finally:
        owner.checkpoints -= 1


def check_running(container: Container) -> None:
    """Raises FailedPrecondition unless the container runs, and is not on its way down."""
    if container.status.phase != "running" or container.stopping is not None:
        state = "being stopped" if container.stopping is not None else container.status.phase
        raise FailedPrecondition(f"container {container.title} is {state}: only a running one can be checkpointed")


def _archive(directory: str, path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name in sorted(os.listdir(directory)):
            archive.add(os.path.join(directory, name), name)
