"""All sandboxes and containers, in memory, with every change written to the store.

Lists, statuses and look-ups by id or by the beginning of one are answered from here: kubelets ask for them several
times a second, and none of that may cost a program or a query.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from google.protobuf.message import DecodeError

from podwright.cri import v1
from podwright.errors import InvalidArgument, NotFound
from podwright.state.records import (
    Container,
    ContainerFacts,
    ContainerStatus,
    Sandbox,
    SandboxFacts,
    SandboxStatus,
    container_name,
    sandbox_name,
)
from podwright.state.store import Statement, Store, Value

logger = logging.getLogger(__name__)

_UNREADABLE = (DecodeError, KeyError, ValueError)  # msgspec's errors are ValueErrors

T = TypeVar("T", Sandbox, Container)

GONE: Final = "gone"
"""The phase of an object that is no longer here, for listeners."""

Listener = Callable[[Sandbox | Container, str, str], None]
"""Takes the object and its phases before and after."""


class Index:
    """The objects of this node."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self._names: dict[str, str] = {}
        self.listeners: list[Listener] = []
        """Called on the event loop at each change of phase, when lists and statuses show it, and once more when an
        object has become visible. They must be quick and must not raise.
        """

    def load(self) -> list[Statement]:
        """Reads what the store has; for the start. Returns what removes the records that cannot be read.

        They are left out, and with a sandbox its containers: their resources then belong to nobody, and are released
        as such (core/tidy.py).
        """
        give_up: list[Statement] = []
        for row in self._store.read("SELECT id, config, facts, status FROM sandbox"):
            try:
                sandbox = _read_sandbox(*row)
            except _UNREADABLE:
                logger.exception("the record of sandbox %s cannot be read: it is given up", row[0])
                give_up.append(("DELETE FROM sandbox WHERE id = ?", row[:1]))
                continue
            self.sandboxes[sandbox.id] = sandbox
            self._names[sandbox.name] = sandbox.id
        for row in self._store.read("SELECT id, sandbox, config, facts, status FROM container"):
            try:
                container = self._read_container(*row)
            except _UNREADABLE:
                logger.exception("the record of container %s cannot be read: it is given up", row[0])
                give_up.append(("DELETE FROM container WHERE id = ?", row[:1]))
                continue
            self._enter(container)
        return give_up

    def _read_container(self, container_id: Value, sandbox_id: Value, *columns: Value) -> Container:
        config, facts, status = map(_blob, columns)
        return Container(
            str(container_id),
            self.sandboxes[str(sandbox_id)],
            v1.ContainerConfig.FromString(config),
            msgspec.json.decode(facts, type=ContainerFacts),
            msgspec.json.decode(status, type=ContainerStatus),
        )

    def holder(self, name: str) -> str | None:
        """The id of the object that has this unique name."""
        return self._names.get(name)

    # sandboxes

    async def add_sandbox(self, sandbox: Sandbox, *more: Statement) -> None:
        """Enters a new sandbox; `more` is written in the same transaction."""
        self.sandboxes[sandbox.id] = sandbox
        self._names[sandbox.name] = sandbox.id
        row = (
            sandbox.id,
            sandbox.config.SerializeToString(),
            msgspec.json.encode(sandbox.facts),
            msgspec.json.encode(sandbox.status),
        )
        await self._store.write(("INSERT INTO sandbox VALUES (?, ?, ?, ?)", row), *more)

    async def update_sandbox(self, sandbox: Sandbox, **changes: Any) -> None:  # noqa: ANN401  fields of SandboxStatus
        """Replaces fields of the status: in memory at once, in the store before this returns."""
        before = sandbox.status.phase
        sandbox.status = msgspec.structs.replace(sandbox.status, **changes)
        sandbox.listed = None
        self._tell(sandbox, before, sandbox.status.phase)
        await self._store.write(
            ("UPDATE sandbox SET status = ? WHERE id = ?", (msgspec.json.encode(sandbox.status), sandbox.id))
        )

    async def drop_sandbox(self, sandbox: Sandbox) -> None:
        """Forgets a sandbox, which must have no containers left."""
        del self.sandboxes[sandbox.id]
        self._names.pop(sandbox_name(sandbox.config.metadata), None)
        self._tell(sandbox, sandbox.status.phase, GONE)
        await self._store.write(("DELETE FROM sandbox WHERE id = ?", (sandbox.id,)))

    def sandbox(self, id_or_prefix: str) -> Sandbox:
        """The sandbox with this id, or the only one whose id begins so. Raises NotFound, InvalidArgument."""
        return _find(self.sandboxes, id_or_prefix, "pod sandbox")

    # containers

    async def add_container(self, container: Container, *more: Statement) -> None:
        """Enters a new container; `more` is written in the same transaction."""
        self._enter(container)
        row = (
            container.id,
            container.sandbox.id,
            container.config.SerializeToString(),
            msgspec.json.encode(container.facts),
            msgspec.json.encode(container.status),
        )
        await self._store.write(("INSERT INTO container VALUES (?, ?, ?, ?, ?)", row), *more)

    async def update_container(self, container: Container, **changes: Any) -> None:  # noqa: ANN401  fields of ContainerStatus
        """Replaces fields of the status: in memory at once, in the store before this returns."""
        before = container.status.phase
        container.status = msgspec.structs.replace(container.status, **changes)
        container.listed = None
        if container.status.phase == "exited":
            container.exited.set()
        self._tell(container, before, container.status.phase)
        await self._store.write(
            ("UPDATE container SET status = ? WHERE id = ?", (msgspec.json.encode(container.status), container.id))
        )

    async def drop_container(self, container: Container) -> None:
        """Forgets a container."""
        del self.containers[container.id]
        del container.sandbox.containers[container.id]
        self._names.pop(container_name(container.config.metadata, container.sandbox), None)
        self._tell(container, container.status.phase, GONE)
        await self._store.write(("DELETE FROM container WHERE id = ?", (container.id,)))

    def container(self, id_or_prefix: str) -> Container:
        """The container with this id, or the only one whose id begins so. Raises NotFound, InvalidArgument."""
        return _find(self.containers, id_or_prefix, "container")

    def _enter(self, container: Container) -> None:
        self.containers[container.id] = container
        container.sandbox.containers[container.id] = container
        self._names[container.name] = container.id
        if container.status.phase == "exited":
            container.exited.set()

    def show(self, what: Sandbox | Container) -> None:
        """Lets clients see an object that was made: one of them has been told its id."""
        if not what.fetched:
            what.fetched = True
            self._tell(what, "creating", what.status.phase)

    def _tell(self, what: Sandbox | Container, before: str, after: str) -> None:
        if before != after:
            for listener in self.listeners:
                listener(what, before, after)

    # lists

    def visible_sandboxes(self) -> Iterator[Sandbox]:
        """Those that clients may see."""
        return (sandbox for sandbox in self.sandboxes.values() if sandbox.visible)

    def visible_containers(self) -> Iterator[Container]:
        """Those that clients may see."""
        return (container for container in self.containers.values() if container.visible)


def matches_labels(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether all the labels of the selector are there with just these values."""
    return all(labels.get(key) == value for key, value in selector.items())


def _find(objects: Mapping[str, T], id_or_prefix: str, kind: Literal["pod sandbox", "container"]) -> T:
    if not id_or_prefix:
        raise InvalidArgument(f"the id of the {kind} is empty")
    found = objects.get(id_or_prefix)
    if found is not None and found.visible:
        return found
    candidates = [o for o in objects.values() if o.id.startswith(id_or_prefix) and o.visible]
    if not candidates:
        raise NotFound(f'{kind} "{id_or_prefix}" not found')
    if len(candidates) > 1:
        raise InvalidArgument(f'more than one {kind} has an id that begins with "{id_or_prefix}"')
    return candidates[0]


def _read_sandbox(sandbox_id: Value, *columns: Value) -> Sandbox:
    config, facts, status = map(_blob, columns)
    return Sandbox(
        str(sandbox_id),
        v1.PodSandboxConfig.FromString(config),
        msgspec.json.decode(facts, type=SandboxFacts),
        msgspec.json.decode(status, type=SandboxStatus),
    )


def _blob(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"{value!r} is no record")
    return value
