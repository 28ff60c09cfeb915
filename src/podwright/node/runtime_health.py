"""Whether the runtime is well: its Status, asked for every five seconds, and when it last answered."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from podwright.client import AsyncClient
from podwright.cri import v1
from podwright.errors import PodwrightError

logger = logging.getLogger(__name__)

_PERIOD: Final = 5.0
_DOWN_AFTER: Final = 30.0
"""Seconds without an answer until a node says that it is not ready; the kubelet's maxWaitForContainerRuntime."""


@dataclass(slots=True)
class RuntimeHealth:
    """What the runtime said last."""

    cri: AsyncClient
    last: v1.StatusResponse | None = None
    _answered: float = 0.0
    _problem: str = ""

    async def for_ever(self) -> None:
        """Asks again and again."""
        while True:
            await self.look()
            await asyncio.sleep(_PERIOD)

    async def look(self) -> None:
        """Asks once."""
        try:
            answer = await self.cri.status()
        except PodwrightError as error:
            if time.monotonic() - self._answered > _DOWN_AFTER:
                self._say("container runtime is down")
            logger.debug("the runtime's status cannot be had: %s", error)
            return
        self.last, self._answered = answer, time.monotonic()
        conditions = {item.type: item for item in answer.status.conditions}
        if not {"RuntimeReady", "NetworkReady"} <= conditions.keys():
            self._say("RuntimeReady or NetworkReady condition are not set")
            return
        problems = [
            f"{words} not ready: {kind}=false reason:{conditions[kind].reason} message:{conditions[kind].message}"
            for kind, words in (("RuntimeReady", "container runtime"), ("NetworkReady", "container runtime network"))
            if not conditions[kind].status
        ]
        self._say(", ".join(problems))

    @property
    def problem(self) -> str:
        """Why pods cannot be run now; empty if they can."""
        if self._answered and time.monotonic() - self._answered > _DOWN_AFTER:
            return "container runtime is down"
        return self._problem

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            if problem:
                logger.warning("the node is not ready: %s", problem)
            else:
                logger.info("the node is ready")
        self._problem = problem
