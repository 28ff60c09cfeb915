"""The verb GC (CNI 1.1): from time to time plugins are told which attachments there are, and free the rest.

It is a safety net under attachments.py, for what was lost before this daemon knew of it. It assumes that the network
has no other user on this host; where it has, the configuration says disableGC.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from podwright.errors import PodwrightError
from podwright.network.cni import Cni
from podwright.network.config import NetworkConfig, Pace
from podwright.network.request import Call
from podwright.trace import step

logger = logging.getLogger(__name__)


class Traffic:
    """Either attachments come and go, any number at once, or a collector is alone (CNI 1.1, Lifecycle & Ordering).

    The collector waits for a quiet moment and holds nobody up before it has one.
    """

    def __init__(self) -> None:
        self._moving = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._open = asyncio.Event()
        self._open.set()

    @contextlib.asynccontextmanager
    async def moving(self) -> AsyncIterator[None]:
        """Held by each ADD and DEL."""
        while not self._open.is_set():
            await self._open.wait()
        self._moving += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._moving -= 1
            if not self._moving:
                self._quiet.set()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Held by the one collector."""
        while not self._quiet.is_set():
            await self._quiet.wait()
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()


class Collector:
    """Runs GC over the network in force."""

    def __init__(
        self,
        cni: Cni,
        traffic: Traffic,
        pace: Pace,
        network: Callable[[], Awaitable[NetworkConfig]],
        valid: Callable[[NetworkConfig], Sequence[Call]],
    ) -> None:
        """`network` gives the one in force, `valid` the attachments to it that are or are being made."""
        self._cni = cni
        self._traffic = traffic
        self._pace = pace
        self._network = network
        self._valid = valid

    async def run_for_ever(self) -> None:
        """Collects now and periodically."""
        while True:
            succeeded = await self._collect()
            await asyncio.sleep(self._pace.collect_every if succeeded else self._pace.collect_retry)

    async def _collect(self) -> bool:
        try:
            network = await self._network()
            if network.at_least("1.1.0") and not network.disable_gc:
                async with self._traffic.alone():
                    with step("network.gc"):
                        await self._cni.collect(network, self._valid(network))
        except PodwrightError as error:
            logger.info("no garbage collection of networks for now: %s", error)
            return False
        return True
