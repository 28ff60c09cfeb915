"""Which layers would survive a power loss.

Nobody waits for a disk: a layer can be used as soon as it is made. Until its file system has been synced, a while
later, a note says in which boot it was made. After a power loss that boot is over, and what the disk has of the layer
is worthless; a daemon that was killed meanwhile finds it whole.
"""

import asyncio
import logging
import os
from collections.abc import Mapping

from podwright.errors import PodwrightError
from podwright.kernel import libc
from podwright.state.store import Statement, Store
from podwright.trace import step

logger = logging.getLogger(__name__)

_NOTE = "images.unsynced."
_PAUSE_SECONDS = 1.0
"""Layers of one pull are made in a row: one sync is enough for them."""


class Unsynced:
    """The layers that are not, by number."""

    def __init__(self, store: Store, directory: str) -> None:
        self._store = store
        self._directory = directory
        self._numbers: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def load(self, facts: Mapping[str, str], boot: str) -> set[int]:
        """Reads the notes. Returns the layers that were lost with an earlier boot."""
        found = {int(name.removeprefix(_NOTE)): made for name, made in facts.items() if name.startswith(_NOTE)}
        self._numbers = {number for number, made in found.items() if made == boot}
        self._sync_soon()
        return set(found) - self._numbers

    def add(self, number: int, boot: str) -> Statement:
        """What to write together with the record of a layer that has just been made."""
        self._numbers.add(number)
        self._sync_soon()
        return ("INSERT INTO fact VALUES (?, ?)", (f"{_NOTE}{number}", boot))

    def forget(self, number: int) -> Statement:
        """What to write when a layer is synced, or is removed."""
        self._numbers.discard(number)
        return ("DELETE FROM fact WHERE name = ?", (f"{_NOTE}{number}",))

    async def close(self) -> None:
        """Syncs what is left."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._sync()

    def _sync_soon(self) -> None:
        if self._numbers and (self._task is None or self._task.done()):
            self._task = asyncio.ensure_future(self._sync_later())

    async def _sync_later(self) -> None:
        while self._numbers:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self._sync()
            except (PodwrightError, OSError) as error:  # they are lost if the power is; the next layer tries again
                logger.warning("cannot sync the layers of images: %s", error)
                return

    async def _sync(self) -> None:
        numbers = sorted(self._numbers)
        if numbers:
            with step("image.sync"):
                await asyncio.to_thread(self._syncfs)
            await self._store.write(*map(self.forget, numbers), durable=True)

    def _syncfs(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            libc.syncfs(fd)
        finally:
            os.close(fd)
