"""Creations, which may go on side by side, and the arrival of a plugin, for which none may be half-way: the plugin must
find in the state that it is told of whatever it is not asked about.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Gate:
    """Lets creations through while no plugin arrives, and a plugin when none is inside."""

    def __init__(self) -> None:
        self._inside = 0
        self._arrivals = asyncio.Lock()
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextlib.asynccontextmanager
    async def creation(self) -> AsyncIterator[None]:
        """From before plugins are asked about an object until it can be seen. Not to be nested."""
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @contextlib.asynccontextmanager
    async def arrival(self) -> AsyncIterator[None]:
        """While a plugin is told of all there is."""
        async with self._arrivals:
            self._open.clear()
            try:
                await self._empty.wait()
                yield
            finally:
                self._open.set()
