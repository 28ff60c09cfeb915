"""Telling an API server of events. The same one again is counted, not told anew (core/v1 Event)."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from podwright.clock import now_ns
from podwright.errors import NotFound, PodwrightError
from podwright.ids import new_id
from podwright.node.cluster.client import Cluster, Document
from podwright.node.events import Event
from podwright.node.times import rfc3339

logger = logging.getLogger(__name__)

_MOST_WAITING: Final = 1000
_MOST_REMEMBERED: Final = 4096


@dataclass(slots=True)
class EventSink:
    """A queue; when it is full, new ones are dropped, for events are only told as well as may be."""

    cluster: Cluster
    node: str
    _queue: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))
    _told: OrderedDict[Event, Document] = field(default_factory=OrderedDict)

    def put(self, event: Event) -> None:
        """An event is to be told."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            logger.debug("event %s is dropped: too many are waiting", event.reason)

    async def for_ever(self) -> None:
        """Goes on for ever."""
        while True:
            event = await self._queue.get()
            try:
                await self._tell(event)
            except PodwrightError as error:
                logger.debug("event %s: %s", event.reason, error)

    async def _tell(self, event: Event) -> None:
        namespace, now = event.about.namespace or "default", rfc3339(now_ns())
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
