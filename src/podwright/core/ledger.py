"""What this daemon has made, or is about to make, on the host: written down first, released last made first.

Every mount, pinned namespace, directory, cgroup, monitor and network attachment has a row here before it exists,
under the sandbox or container that owns it. Stopping, removing, undoing a failed creation and recovering from a crash
are all the same act: release the rows. So each kind has one release function, which succeeds where there is nothing
(left) to release. A resource may have to wait for another: then it stays, as that of an object that is gone if need
be, and tidy.py comes back to it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import msgspec

from podwright.errors import Internal, PodwrightError
from podwright.state.store import Statement, Store
from podwright.trace import step

logger = logging.getLogger(__name__)

Kind = Literal["directory", "mount", "pin", "network", "cgroup", "shadow", "container", "checkpoint", "frozen"]


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing on the host."""

    seq: int
    owner: str
    kind: Kind
    args: Mapping[str, str]

    def describe(self) -> str:
        """For messages and logs."""
        return " ".join((self.kind, *self.args.values()))


Release = Callable[[Resource], Awaitable[None]]


class Ledger:
    """All resources, by owner."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_owner: dict[str, list[Resource]] = {}
        self._next = 1
        self.releases: dict[Kind, Release] = {}
        """How each kind is released; filled by those who know how."""
        self.has_to_wait: Callable[[Resource], bool] = lambda _resource: False
        """Set by those who know: whether a resource cannot be released yet."""

    def load(self) -> None:
        """Reads what the store has; for the start."""
        for seq, owner, kind, args in self._store.read("SELECT seq, owner, kind, args FROM resource ORDER BY seq"):
            assert isinstance(seq, int)
            assert isinstance(args, bytes)
            resource = Resource(seq, str(owner), cast("Kind", kind), msgspec.json.decode(args))
            self._by_owner.setdefault(resource.owner, []).append(resource)
            self._next = seq + 1

    def enter(self, owner: str, *resources: tuple[Kind, Mapping[str, str]]) -> list[Statement]:
        """Notes resources in the order in which they will be made; the statements must be written before the first
        is.
        """
        statements: list[Statement] = []
        for kind, args in resources:
            resource = Resource(self._next, owner, kind, args)
            self._next += 1
            self._by_owner.setdefault(owner, []).append(resource)
            row = (resource.seq, owner, kind, msgspec.json.encode(args))
            statements.append(("INSERT INTO resource VALUES (?, ?, ?, ?)", row))
        return statements

    def owners(self) -> set[str]:
        """All who have resources."""
        return set(self._by_owner)

    def of(self, owner: str) -> Sequence[Resource]:
        """The resources of an owner, in the order in which they were made."""
        return self._by_owner.get(owner, [])

    async def release(self, owner: str, kinds: set[Kind] | None = None) -> None:
        """Releases the owner's resources of these kinds, or all, the last made first.

        One that cannot be released stays in the ledger and does not keep the others; then Internal is raised, naming
        each. The release goes on to its end even if the caller is cancelled.
        """
        await asyncio.shield(asyncio.ensure_future(self._release(owner, kinds)))

    async def give_away(self, owner: str, kinds: set[Kind]) -> None:
        """Forgets resources of these kinds without releasing them: somebody else has them now."""
        await self._forget(owner, [resource for resource in self.of(owner) if resource.kind in kinds])

    async def _release(self, owner: str, kinds: set[Kind] | None) -> None:
        released: list[Resource] = []
        failures: list[str] = []
        for resource in reversed(list(self.of(owner))):
            if (kinds is not None and resource.kind not in kinds) or self.has_to_wait(resource):
                continue
            try:
                with step(f"release.{resource.kind}", owner):
                    await self.releases[resource.kind](resource)
                released.append(resource)
            except (OSError, PodwrightError) as error:
                failures.append(f"{resource.describe()}: {error}")
        await self._forget(owner, released)
        if failures:
            raise Internal(f'cannot release what "{owner}" has: ' + "; ".join(failures))

    async def _forget(self, owner: str, released: Sequence[Resource]) -> None:
        gone = {resource.seq for resource in released}
        left = [resource for resource in self.of(owner) if resource.seq not in gone]
        if left:
            self._by_owner[owner] = left
        else:
            self._by_owner.pop(owner, None)
        await self._store.write(*(("DELETE FROM resource WHERE seq = ?", (seq,)) for seq in gone))
