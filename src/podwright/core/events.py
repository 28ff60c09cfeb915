"""What happens to sandboxes and containers, told to whoever listens (GetContainerEvents).

There is one log, in memory, of serialised events; a subscriber is a position in it. So a slow one costs nothing and
holds nobody up; one that falls so far behind that its next event has been dropped is told so. A late one gets what the
log still has: kubelets connect anew after a fault, and must not miss what happened meanwhile (containerd replays
five minutes too).

An event is made when the index has changed, never before: whoever hears of a state finds it in lists and statuses.
"""

import asyncio
import collections
from collections.abc import AsyncIterator

from podwright.clock import now_ns
from podwright.core import messages
from podwright.cri import v1
from podwright.errors import ResourceExhausted
from podwright.state.index import GONE, Index
from podwright.state.records import Container, Sandbox

KEEP_NS = 300 * 10**9
KEEP_BYTES = 16 << 20
"""Enough for some five hundred pods coming and going within the five minutes."""

_CREATED, _STARTED = v1.CONTAINER_CREATED_EVENT, v1.CONTAINER_STARTED_EVENT
_STOPPED, _DELETED = v1.CONTAINER_STOPPED_EVENT, v1.CONTAINER_DELETED_EVENT

_NEW: dict[type, tuple[v1.ContainerEventType, ...]] = {Sandbox: (_CREATED, _STARTED), Container: (_CREATED,)}
"""Of an object that has become visible."""
_TYPES: dict[str, tuple[v1.ContainerEventType, ...]] = {
    # by the phase that the object is in now
    "running": (_STARTED,),
    "exited": (_STOPPED,),
    "stopped": (_STOPPED,),
    GONE: (_DELETED,),
}


class Events:
    """The log and its subscribers."""

    def __init__(self, index: Index) -> None:
        self._log: collections.deque[tuple[int, bytes]] = collections.deque()
        self._first = 0
        """The number of the oldest event in the log; they are counted from the daemon's start."""
        self._bytes = 0
        self._last_ns = 0
        self._news = asyncio.Event()
        self._closed = False
        self.counts: collections.Counter[str] = collections.Counter()
        """Events so far by type, and `lost` for subscribers that fell behind."""
        self.subscribers = 0
        index.listeners.append(self._changed)

    async def subscribe(self) -> AsyncIterator[bytes]:
        """ContainerEventResponse messages, serialised: those of the last minutes, then each as it happens.

        Ends when the daemon leaves. Raises ResourceExhausted if the subscriber is so slow that the log has lost its
        next event.
        """
        self.forget_old()
        position = self._first
        self.subscribers += 1
        try:
            while True:
                while position < self._first + len(self._log):
                    if position < self._first:
                        self.counts["lost"] += 1
                        raise ResourceExhausted(
                            f"{self._first - position} events were dropped before this client took them: subscribe anew"
                        )
                    _, event = self._log[position - self._first]
                    position += 1
                    yield event
                if self._closed:
                    return
                await self._news.wait()
        finally:
            self.subscribers -= 1

    def close(self) -> None:
        """Ends all streams."""
        self._closed = True
        self._wake()

    def forget_old(self) -> None:
        """Drops what is too old, or too much, to be replayed."""
        oldest = now_ns() - KEEP_NS
        while self._log and (self._log[0][0] < oldest or self._bytes > KEEP_BYTES):
            _, event = self._log.popleft()
            self._bytes -= len(event)
            self._first += 1

    def _changed(self, what: Sandbox | Container, before: str, after: str) -> None:
        if not what.fetched or (before == "creating" and after == GONE):  # nobody can see, or has seen, it
            return
        sandbox = what if isinstance(what, Sandbox) else what.sandbox
        for event_type in (*(_NEW[type(what)] if before == "creating" else ()), *_TYPES.get(after, ())):
            self._add(sandbox, what.id, event_type)

    def _add(self, sandbox: Sandbox, object_id: str, event_type: v1.ContainerEventType) -> None:
        # Kubelets drop what is older than what they have: the times must grow even if the clock is set back.
        self._last_ns = max(now_ns(), self._last_ns + 1)
        event = v1.ContainerEventResponse(
            container_id=object_id,
            container_event_type=event_type,
            created_at=self._last_ns,
            pod_sandbox_status=messages.sandbox_status(sandbox),
            containers_statuses=messages.container_statuses(sandbox),
        ).SerializeToString()
        self._log.append((self._last_ns, event))
        self._bytes += len(event)
        self.counts[v1.ContainerEventType.Name(event_type)] += 1
        self.forget_old()
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
