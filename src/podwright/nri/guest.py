"""Somebody who is connected and may become a plugin: says who it is, and may call the runtime from then on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from google.protobuf.message import Message

from podwright.errors import FailedPrecondition
from podwright.nri import v1
from podwright.nri.connection import Connection, Gone
from podwright.nri.launch import Installed
from podwright.nri.methods import PLUGIN_METHODS, PLUGIN_SERVICE, RUNTIME_METHODS, RUNTIME_SERVICE
from podwright.nri.plugin import check_identity
from podwright.wire import nri

CarryOut = Callable[
    [str, Iterable[v1.ContainerUpdate], Iterable[v1.ContainerEviction]], Awaitable[list[v1.ContainerUpdate]]
]
"""Does what is wished for containers, by whom it says; returns what failed."""


class Guest:
    """One connection, before and after it registers."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        carry_out: CarryOut,
        installed: Installed | None = None,
    ) -> None:
        """`installed` is the program that was started for this connection, if one was."""
        self._carry_out = carry_out
        self._installed = installed
        self._identity: asyncio.Future[tuple[str, str] | None] = asyncio.get_running_loop().create_future()
        self.settled = asyncio.Event()
        """Set when it takes part, or never will."""
        self.connection = Connection(
            reader,
            writer,
            serves=(nri.RUNTIME, RUNTIME_SERVICE, RUNTIME_METHODS),
            calls=(nri.PLUGIN, PLUGIN_SERVICE, PLUGIN_METHODS),
            answer=self._answer,
        )

    @property
    def title(self) -> str:
        """For messages."""
        if self._identity.done() and not self._identity.cancelled() and (identity := self._identity.result()):
            return "-".join(identity)
        return self._installed.path if self._installed else "that has just connected"

    @property
    def config(self) -> str:
        """What it is configured with."""
        return self._installed.config if self._installed else ""

    async def identity(self, seconds: float) -> tuple[str, str]:
        """Its index and its name, once it has registered. Raises Gone if it leaves before, or does not in time."""
        try:
            async with asyncio.timeout(seconds):
                found = await self._identity
        except TimeoutError:
            raise Gone(f"has not registered within {seconds:g} seconds") from None
        if found is None:
            raise Gone("has left before it registered")
        return found

    def leaves(self) -> None:
        """It is no longer connected."""
        if not self._identity.done():
            self._identity.set_result(None)

    async def _answer(self, method: str, request: Message) -> Message:
        if isinstance(request, v1.RegisterPluginRequest):
            index, name = request.plugin_idx, request.plugin_name
            if self._installed is not None:
                index, name = self._installed.index, self._installed.name
            check_identity(index, name)
            if not self._identity.done():
                self._identity.set_result((index, name))
            return v1.Empty()
        assert isinstance(request, v1.UpdateContainersRequest), method
        if not self._identity.done():
            raise FailedPrecondition("register first")
        failed = await self._carry_out(f"NRI plugin {self.title}", request.update, request.evict)
        return v1.UpdateContainersResponse(failed=failed)
