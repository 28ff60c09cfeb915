"""The stages in the life of each sandbox and container, with how long they took: who waited for what.

Filled by step() (trace.py), shown by verbose statuses and `podwright inspect --timeline`. Kept in memory and written
to the store now and again: a daemon that is killed loses the last seconds of it, and nothing else depends on it.
"""

import collections
import itertools

import msgspec

from podwright import trace
from podwright.state.index import GONE, Index
from podwright.state.records import Container, Sandbox
from podwright.state.store import Statement, Store
from podwright.trace import Step

STAGES = 64
"""How many are remembered of one object; the oldest go first."""
_NO_STAGES = frozenset({"container.exec"})
"""Work on a container that is no stage of its life, and comes as often as a kubelet probes."""


class Stage(msgspec.Struct, frozen=True, array_like=True):
    """A stage that is over."""

    name: str
    started_at: int
    """Nanoseconds since the epoch."""
    seconds: float
    error: str = ""


class Timeline:
    """The stages of all objects in the index."""

    def __init__(self, index: Index, store: Store) -> None:
        self._index = index
        self._store = store
        self._stages: dict[str, collections.deque[Stage]] = {}
        self._changed: set[str] = set()
        """Objects whose stages, or absence, have to be written."""
        trace.listeners.append(self._finished)
        index.listeners.append(self._phase_changed)

    def load(self) -> None:
        """Reads what the store has; for the start, after the index."""
        for owner, stages in self._store.read("SELECT owner, stages FROM timeline"):
            assert isinstance(stages, bytes)
            if self._knows(str(owner)):
                read = msgspec.json.decode(stages, type=list[Stage])
                self._stages[str(owner)] = collections.deque(read, maxlen=STAGES)
            else:
                self._changed.add(str(owner))

    def of(self, object_id: str) -> list[Stage]:
        """The stages of a sandbox or container in the order of their ends."""
        return list(self._stages.get(object_id, ()))

    async def flush(self) -> None:
        """Writes what has changed."""
        changed, self._changed = self._changed, set()
        if changed:
            await self._store.write(*itertools.starmap(_statement, ((owner, self.of(owner)) for owner in changed)))

    def _knows(self, object_id: str) -> bool:
        return object_id in self._index.sandboxes or object_id in self._index.containers

    def _finished(self, step: Step) -> None:
        # On whatever thread: additions to a deque and to a set are whole under Python's lock.
        if self._knows(step.owner) and step.name not in _NO_STAGES:
            stages = self._stages.setdefault(step.owner, collections.deque(maxlen=STAGES))
            stages.append(Stage(step.name, step.started_ns, step.seconds, str(step.error) if step.error else ""))
            self._changed.add(step.owner)

    def _phase_changed(self, what: Sandbox | Container, _before: str, after: str) -> None:
        if after == GONE:
            self._stages.pop(what.id, None)
            self._changed.add(what.id)


def _statement(owner: str, stages: list[Stage]) -> Statement:
    if not stages:
        return "DELETE FROM timeline WHERE owner = ?", (owner,)
    return "INSERT OR REPLACE INTO timeline VALUES (?, ?)", (owner, msgspec.json.encode(stages))
