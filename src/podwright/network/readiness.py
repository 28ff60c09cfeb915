"""Whether a pod could be attached now: the NetworkReady condition, from memory.

Networks of CNI 1.1 and up are asked by the verb STATUS too. That runs beside: who looks gets the last answer, and an
old one makes a new question. Nobody looks, nobody asks.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from podwright.errors import PodwrightError
from podwright.network.cni import Cni
from podwright.network.config import Configurations, NetworkConfig

NOT_READY = "NetworkPluginNotReady"
"""The reason that containerd gives, which people and their tools search for."""

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@dataclass(frozen=True, slots=True)
class NetworkStatus:
    """The NetworkReady condition."""

    ready: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the plugins of a configuration said, and when, by the monotonic clock in seconds."""

    config: NetworkConfig
    status: NetworkStatus
    at: float


class Readiness:
    """Looks at the configuration and remembers what its plugins said of themselves."""

    def __init__(self, configurations: Configurations, cni: Cni, spawn: Spawn, max_age: float) -> None:
        """An answer older than `max_age` seconds is still given, but asked for anew."""
        self._configurations = configurations
        self._cni = cni
        self._spawn = spawn
        self._max_age = max_age
        self._answer: _Answer | None = None
        self._asking: asyncio.Task[None] | None = None

    def look(self) -> NetworkStatus:
        """The condition, at once; on the event loop. Takes some stat calls."""
        try:
            config = self._configurations.current()
        except PodwrightError as error:
            return NetworkStatus(ready=False, reason=NOT_READY, message=str(error))
        if not config.at_least("1.1.0"):
            return NetworkStatus(ready=True)
        answer = self._answer if self._answer and self._answer.config is config else None
        if answer is None or time.monotonic() - answer.at > self._max_age:
            self._ask(config)
        if answer is None:
            words = f"{config.title}: its plugins have not answered to STATUS yet"
            return NetworkStatus(ready=False, reason=NOT_READY, message=words)
        return answer.status

    def _ask(self, config: NetworkConfig) -> None:
        if self._asking is None or self._asking.done():
            self._asking = self._spawn(self._run_status(config))

    async def _run_status(self, config: NetworkConfig) -> None:
        status = NetworkStatus(ready=True)
        try:
            network = await self._cni.negotiate(config)
            if network.at_least("1.1.0"):
                await self._cni.status(network)
        except PodwrightError as error:
            status = NetworkStatus(ready=False, reason=NOT_READY, message=str(error))
        self._answer = _Answer(config, status, time.monotonic())
