"""Telling an API server of events. The same one again is counted, not told anew (core/v1 Event)."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from podwright.clock import now_ns
from podwright.errors import NotFound, PodwrightError, Unavailable
from podwright.ids import new_id
from podwright.node.cluster.client import Cluster, Document
from podwright.node.events import Event
from podwright.node.times import rfc3339

logger = logging.getLogger(__name__)

_TRIES, _PAUSE = 60, 2.0  # seconds
_MOST_WAITING: Final = 1000
_MOST_REMEMBERED: Final = 4096


@dataclass(slots=True)
class EventSink:
    """A queue. When it is full new ones are dropped, and so are those that the server does not take for two minutes."""

    cluster: Cluster
    node: str
    _queue: asyncio.Queue[tuple[Event, str]] = field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))
    _told: OrderedDict[Event, Document] = field(default_factory=OrderedDict)

    def put(self, event: Event) -> None:
        """An event is to be told."""
        try:
            self._queue.put_nowait((event, rfc3339(now_ns())))
        except asyncio.QueueFull:
            logger.debug("event %s is dropped: too many are waiting", event.reason)

    async def for_ever(self) -> None:
        """Goes on for ever."""
        while True:
            event, when = await self._queue.get()
            for _ in range(_TRIES):
                try:
                    await self._tell(event, when)
                except Unavailable:
                    await asyncio.sleep(_PAUSE)
                except PodwrightError as error:
                    logger.debug("event %s: %s", event.reason, error)
                    break
                else:
                    break

    async def _tell(self, event: Event, now: str) -> None:
        namespace = event.about.namespace or "default"
        known = self._told.get(event)
        if known is not None:
            count = known["count"] + 1
            patch = {"count": count, "lastTimestamp": now}
            try:
                await self.cluster.patch("Event", known["metadata"]["name"], patch, namespace)
            except NotFound:
                del self._told[event]
            else:
                known["count"] = count
                return
        made = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{event.about.name}.{new_id()[:16]}", "namespace": namespace},
            "involvedObject": {
                "kind": event.about.kind,
                "namespace": event.about.namespace,
                "name": event.about.name,
                "uid": event.about.uid,
                "apiVersion": "v1",
                "fieldPath": event.about.field_path,
            },
            "reason": event.reason,
            "message": event.message[:1024],
            "type": event.kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": "kubelet", "host": self.node},
            "reportingComponent": "kubelet",
            "reportingInstance": self.node,
        }
        self._told[event] = await self.cluster.create("Event", made, namespace)
        if len(self._told) > _MOST_REMEMBERED:
            self._told.popitem(last=False)
