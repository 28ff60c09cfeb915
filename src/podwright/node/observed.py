"""What the runtime has: sandboxes and containers, grouped by pod. The node's only memory of what runs.

Looks every second, as the kubelet's PLEG does, or when the runtime tells of an event; then it looks only now and then.
What is new is asked for in full and told to whoever listens. Status messages are kept while an object's state stays.

A look at one pod (`refresh`) always asks anew, one look at a time: what it finds is never older than what was there.
"""

import asyncio
import collections
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from podwright.client import AsyncClient
from podwright.cri import v1
from podwright.errors import NotFound, PodwrightError, Unimplemented

logger = logging.getLogger(__name__)

UID, NAME, NAMESPACE, CONTAINER = (
    *("io.kubernetes.pod.uid", "io.kubernetes.pod.name", "io.kubernetes.pod.namespace"),
    "io.kubernetes.container.name",
)
PERIOD: Final = 1.0
PERIOD_WITH_EVENTS: Final = 10.0  # a kubelet trusts events for 300 s; ten lists a minute cost nothing
_MOST_FAILED_STREAMS: Final = 5


@dataclass(frozen=True, slots=True)
class SeenContainer:
    """A container, and the sandbox that it is in."""

    sandbox_id: str
    status: v1.ContainerStatus

    @property
    def name(self) -> str:
        return self.status.metadata.name

    @property
    def id(self) -> str:
        return self.status.id

    @property
    def running(self) -> bool:
        return self.status.state == v1.CONTAINER_RUNNING

    @property
    def ended(self) -> bool:
        return self.status.state in {v1.CONTAINER_EXITED, v1.CONTAINER_UNKNOWN}


@dataclass(frozen=True, slots=True)
class SeenPod:
    """All that the runtime has of a pod, newest first."""

    uid: str
    name: str = ""
    namespace: str = ""
    sandboxes: tuple[v1.PodSandboxStatus, ...] = ()
    containers: tuple[SeenContainer, ...] = ()

    @property
    def sandbox(self) -> v1.PodSandboxStatus | None:
        """The newest."""
        return self.sandboxes[0] if self.sandboxes else None

    @property
    def ready(self) -> bool:
        """Whether the newest sandbox can hold containers."""
        return self.sandbox is not None and self.sandbox.state == v1.SANDBOX_READY

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of the newest sandbox."""
        if self.sandbox is None:
            return ()
        network = self.sandbox.network
        return tuple(filter(None, [network.ip, *(other.ip for other in network.additional_ips)]))

    def latest(self, name: str) -> SeenContainer | None:
        """The newest container of that name, in whichever sandbox."""
        return next((container for container in self.containers if container.name == name), None)

    def current(self, name: str) -> SeenContainer | None:
        """The newest container of that name in the newest sandbox."""
        found = self.latest(name)
        return found if found is not None and self.sandbox and found.sandbox_id == self.sandbox.id else None

    def before(self, name: str) -> SeenContainer | None:
        """The one before the newest."""
        found = [container for container in self.containers if container.name == name]
        return found[1] if len(found) > 1 else None

    @property
    def running(self) -> list[SeenContainer]:
        return [container for container in self.containers if container.running]


_Key = frozenset[tuple[str, int]]


@dataclass(slots=True)
class Observed:
    """The pods that the runtime has."""

    cri: AsyncClient
    changed: Callable[[str], None] = lambda _: None
    """Told the uid of a pod with news."""
    pods: dict[str, SeenPod] = field(default_factory=dict)
    last_look: float = 0.0
    """When the runtime last answered, time.monotonic()."""
    _keys: dict[str, _Key] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: collections.defaultdict(asyncio.Lock))
    _last: tuple[object, object] | None = None
    _period: float = PERIOD

    def pod(self, uid: str) -> SeenPod:
        """What was seen last."""
        return self.pods.get(uid) or SeenPod(uid)

    async def watch(self) -> None:
        """Looks for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_again())
            group.create_task(self._listen())

    async def _look_again(self) -> None:
        failing = False
        while True:
            try:
                await self.look()
                failing = False
            except PodwrightError as error:
                if not failing:
                    logger.warning("cannot see what runs: %s", error)
                failing = True
            await asyncio.sleep(self._period)

    async def look(self) -> None:
        """One look at everything. Raises what the runtime answers."""
        sandboxes = await self.cri.list_pod_sandbox()
        containers = await self.cri.list_containers()
        self.last_look = time.monotonic()
        if self._last is not None and self._last[0] == sandboxes and self._last[1] == containers:
            return
        keys: dict[str, set[tuple[str, int]]] = collections.defaultdict(set)
        for sandbox in sandboxes.items:
            keys[sandbox.metadata.uid].add((sandbox.id, sandbox.state))
        for container in containers.containers:
            if uid := container.labels.get(UID):
                keys[uid].add((container.id, container.state))
        news = [
            uid for uid in keys.keys() | self._keys.keys() if self._keys.get(uid, frozenset()) != keys.get(uid, set())
        ]
        await asyncio.gather(*(self.refresh(uid) for uid in news))
        self._last = sandboxes, containers  # only once all of it is seen

    async def refresh(self, uid: str) -> SeenPod:
        """Looks at one pod and tells of news. Raises what the runtime answers."""
        async with self._locks[uid]:
            selector = {UID: uid}
            listed = (await self.cri.list_pod_sandbox(v1.PodSandboxFilter(label_selector=selector))).items
            members = (await self.cri.list_containers(v1.ContainerFilter(label_selector=selector))).containers
            key: _Key = frozenset(
                [*((item.id, item.state) for item in listed), *((item.id, item.state) for item in members)]
            )
            if key == self._keys.get(uid, frozenset()):
                return self.pod(uid)
            old = self.pod(uid)
            sandboxes = [await self._sandbox(item, old) for item in listed]
            containers = [await self._container(item, old) for item in members]
            if not key:
                self.pods.pop(uid, None)
                self._keys.pop(uid, None)
                self._locks.pop(uid, None)
            else:
                self._keys[uid] = key
                labels = listed[0].labels if listed else members[0].labels
                self.pods[uid] = SeenPod(
                    uid,
                    name=listed[0].metadata.name if listed else labels.get(NAME, ""),
                    namespace=listed[0].metadata.namespace if listed else labels.get(NAMESPACE, ""),
                    sandboxes=tuple(sorted((found for found in sandboxes if found), key=lambda item: -item.created_at)),
                    containers=tuple(
                        sorted((found for found in containers if found), key=lambda item: -item.status.created_at)
                    ),
                )
        self.changed(uid)
        return self.pod(uid)

    async def _sandbox(self, listed: v1.PodSandbox, old: SeenPod) -> v1.PodSandboxStatus | None:
        for known in old.sandboxes:
            if known.id == listed.id and known.state == listed.state:
                return known
        try:
            return (await self.cri.pod_sandbox_status(listed.id)).status
        except NotFound:
            return None

    async def _container(self, listed: v1.Container, old: SeenPod) -> SeenContainer | None:
        for known in old.containers:
            if known.id == listed.id and known.status.state == listed.state:
                return known
        try:
            status = (await self.cri.container_status(listed.id)).status
        except NotFound:
            return None
        return SeenContainer(listed.pod_sandbox_id, status)

    async def _listen(self) -> None:
        """Hears of events, where the runtime has them. After five failed streams in a row it only looks."""
        failed = 0
        while failed < _MOST_FAILED_STREAMS:
            try:
                async for event in self.cri.get_container_events():
                    self._period, failed = PERIOD_WITH_EVENTS, 0
                    if uid := event.pod_sandbox_status.metadata.uid:
                        await self.refresh(uid)
            except Unimplemented:
                break
            except PodwrightError as error:
                logger.info("the stream of events broke: %s", error)
            self._period = PERIOD
            failed += 1
            await asyncio.sleep(PERIOD)
        self._period = PERIOD
        logger.info("the runtime tells no events: looking every %.0f s", PERIOD)
