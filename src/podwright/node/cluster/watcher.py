"""List, then watch, then list again when the watch ends: how a program keeps up with an API server."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping

from podwright.errors import PodwrightError
from podwright.node.cluster.client import Change, Cluster, Document

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.8, 30.0  # seconds: client-go's reflector


async def follow(
    cluster: Cluster, kind: str, fields: Mapping[str, str] | None = None
) -> AsyncIterator[list[Document] | tuple[Change, Document]]:
    """Whole lists, each followed by changes. Goes on for ever; failures are logged and tried again."""
    pause: float = _FIRST_PAUSE
    failing = False
    while True:
        try:
            items, version = await cluster.list(kind, fields)
            if failing:
                logger.info("the API server answers again")
            pause, failing = _FIRST_PAUSE, False
            yield items
            async for change in cluster.watch(kind, version, fields):
                yield change
        except PodwrightError as error:
            if not failing:
                logger.warning("%s", error)
            failing = True
            await asyncio.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, _LONGEST_PAUSE)
