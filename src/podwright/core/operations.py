"""Work that is known by the name of what it makes.

A kubelet whose deadline passes asks again for the same sandbox or container. Then the work that is under way is
joined, or its result, if it came too late, is handed over; "name is reserved" never heals by waiting (containerd's
best known complaint). A result that nobody asks for is disposed of after a while; until it is fetched nobody may see
it in a list, and take it for his.

Owns no locks: objects have their own.
"""

import asyncio
import contextvars
import functools
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from podwright.errors import Aborted, PodwrightError
from podwright.trace import Stage, current_stage

logger = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, str]]
Dispose = Callable[[str], Coroutine[Any, Any, None]]

KEEP_SECONDS = 120.0


@dataclass(slots=True)
class _Making:
    fingerprint: bytes
    dispose: Dispose
    task: "asyncio.Task[str]"
    stage: Stage
    waiting: int = 0
    expiry: asyncio.TimerHandle | None = field(default=None)

    @property
    def has_failed(self) -> bool:
        """Whether there will be no result."""
        return self.task.done() and (self.task.cancelled() or self.task.exception() is not None)


class Operations:
    """The creations of this daemon that are under way or whose result has not been fetched."""

    def __init__(self) -> None:
        self._making: dict[str, _Making] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self.leaving = asyncio.Event()
        """Set when the daemon is about to end: who merely waits gives up, and the next daemon is asked again."""
        self.over = False
        """Nothing may begin any more; what happens now is the next daemon's to find."""

    async def make(self, name: str, fingerprint: bytes, work: Work, dispose: Dispose) -> str:
        """Returns the id that `work` makes, or that work begun earlier under this name makes or has made.

        `dispose` removes what was made, by its id, if nobody comes for it.

        The work goes on when the caller is cancelled. Raises Aborted, naming the stage, if something else is under
        way under the name: `fingerprint`, the request, tells. Raises what the work raises.
        """
        making = self._making.get(name)
        if making is None or making.has_failed:
            making = self._begin(name, fingerprint, work, dispose)
        elif making.fingerprint != fingerprint and making.task.done() and not making.waiting:
            making = self._begin(name, fingerprint, functools.partial(self._instead, making, work), dispose)
        elif making.fingerprint != fingerprint:
            raise Aborted(
                f'"{name}" is being made with another configuration, at stage "{making.stage.name}": try again'
            )
        else:
            logger.info("joining the work on %s, at stage %s", name, making.stage.name)
        if making.expiry:
            making.expiry.cancel()
            making.expiry = None
        making.waiting += 1
        try:
            result = await asyncio.shield(making.task)
        except asyncio.CancelledError:
            making.waiting -= 1
            if making.task.done():
                self._unfetched(name, making)
            raise
        except BaseException:
            making.waiting -= 1
            raise
        making.waiting -= 1
        self._forget(name, making)
        return result

    def stage(self, name: str) -> str | None:
        """Where the work under this name is, if any is under way."""
        making = self._making.get(name)
        return making.stage.name if making and not making.task.done() else None

    def detach(
        self, work: Coroutine[Any, Any, Any], doing: str, context: contextvars.Context | None = None
    ) -> "asyncio.Task[Any]":
        """Runs `work` to its end whatever becomes of the caller, who may have left: failures are logged with `doing`.

        It belongs to the present request, or to none with an empty `context`.
        """
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._background.add(task)

        def finished(ended: "asyncio.Task[Any]") -> None:
            self._background.discard(ended)
            error = None if ended.cancelled() else ended.exception()
            if error is not None:
                logger.log(
                    logging.INFO if isinstance(error, PodwrightError) else logging.ERROR,
                    "%s: %s",
                    doing,
                    error,
                    exc_info=None if isinstance(error, PodwrightError) else error,
                )

        task.add_done_callback(finished)
        return task

    async def settle(self) -> None:
        """Waits for all work under way; for the end of the daemon."""
        while tasks := {*self._background, *(m.task for m in self._making.values() if not m.task.done())}:
            await asyncio.wait(tasks)

    async def _instead(self, unfetched: _Making, work: Work) -> str:
        """Does the work when the result of another under the same name, which nobody came for, is out of the way."""
        if unfetched.expiry:
            unfetched.expiry.cancel()
        await unfetched.dispose(unfetched.task.result())
        return await work()

    def _begin(self, name: str, fingerprint: bytes, work: Work, dispose: Dispose) -> _Making:
        stage = Stage()
        token = current_stage.set(stage)
        try:
            task = asyncio.get_running_loop().create_task(work())
        finally:
            current_stage.reset(token)
        making = _Making(fingerprint, dispose, task, stage)
        self._making[name] = making
        task.add_done_callback(lambda _: self._finished(name, making))
        return making

    def _finished(self, name: str, making: _Making) -> None:
        if making.has_failed:
            self._forget(name, making)
            if not making.waiting and not making.task.cancelled():
                logger.warning("%s could not be made, and its caller has left: %s", name, making.task.exception())
        elif not making.waiting:
            self._unfetched(name, making)

    def _forget(self, name: str, making: _Making) -> None:
        if self._making.get(name) is making:
            del self._making[name]

    def _unfetched(self, name: str, making: _Making) -> None:
        if not making.waiting and self._making.get(name) is making and making.task.exception() is None:
            logger.info("%s was made after its caller had left; it is kept for the next try", name)
            loop = asyncio.get_running_loop()
            making.expiry = loop.call_later(KEEP_SECONDS, self._expire, name, making)

    def _expire(self, name: str, making: _Making) -> None:
        if self._making.get(name) is making and not making.waiting:
            del self._making[name]
            logger.info("nobody came for %s: removing it", name)
            self.detach(making.dispose(making.task.result()), f"removing {name}")
