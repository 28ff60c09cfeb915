"""The file that a container's output goes to: making it, and ReopenContainerLog."""

import asyncio
import errno
import os

from podwright.core.runtime import Runtime
from podwright.errors import DeadlineExceeded, FailedPrecondition, Internal
from podwright.kernel import libc
from podwright.oci import conmon
from podwright.state.records import Container

REOPEN_SECONDS = 10.0
MODE = 0o640
"""For collectors of logs that read them by their group; conmon would make it 0600."""


def make_log(path: str) -> None:
    """Makes the directory, and the file for conmon to append to. Blocking. Raises OSError."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, MODE))


async def reopen_log(runtime: Runtime, container: Container) -> None:
    """Makes conmon open the log's path anew, and returns when the file is there. Does nothing if the file there is the
    one that conmon writes to: it would be replaced by an empty one.

    Raises FailedPrecondition, and makes no file, if the container does not run (critest, kubelet's log rotation).
    """
    async with container.lock:
        if container.status.phase != "running":
            raise FailedPrecondition(f"container {container.title} is not running: its log cannot be reopened")
        if not container.facts.log_path:
            raise FailedPrecondition(f"container {container.title} has no log")
        await _reopen(runtime.paths.bundle(container.id), container)


async def _reopen(bundle: str, container: Container) -> None:
    path = container.facts.log_path
    monitor = container.status.monitor
    if monitor is not None and await asyncio.to_thread(monitor.has_open, path):
        return
    loop = asyncio.get_running_loop()
    appeared: asyncio.Future[None] = loop.create_future()
    try:
        watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Internal(f"cannot watch the log of {container.title}: {error}") from error

    def changed() -> None:
        os.read(watch, 65536)
        if monitor is not None and monitor.has_open(path) and not appeared.done():
            appeared.set_result(None)

    try:
        # conmon makes a file beside it and renames that.
        libc.inotify_add_watch(watch, os.path.dirname(path), libc.IN_MOVED_TO)
        loop.add_reader(watch, changed)
        conmon.reopen_log(bundle)
        async with asyncio.timeout(REOPEN_SECONDS):
            await appeared
        await asyncio.to_thread(os.chmod, path, MODE)
    except TimeoutError:
        raise DeadlineExceeded(f"the conmon of {container.title} did not reopen {path}") from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # no conmon listens
            raise FailedPrecondition(f"container {container.title} has just ended") from error
        raise Internal(f"cannot reopen the log of {container.title}: {error}") from error
    finally:
        loop.remove_reader(watch)
        os.close(watch)
