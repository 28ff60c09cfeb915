"""What operations call, each where the step happens: plugins are told, asked, and their wishes are carried out.

Before the fact a plugin's refusal is the operation's failure; after the fact it is logged. Where there is no plugin a
call costs nothing. Nri remembers what plugins have been told of each object, so that each is told once of its end,
whoever comes upon it first.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from google.protobuf.message import Message

from podwright.cri import v1 as cri
from podwright.errors import FailedPrecondition, NotFound, PodwrightError
from podwright.nri import adjust, describe, limits, v1
from podwright.nri.methods import EVENTS, PLUGIN_METHODS
from podwright.nri.owners import Owners
from podwright.nri.plugin import Plugin
from podwright.nri.plugins import Plugins, Settings
from podwright.nri.wishes import Wishes
from podwright.oci.documents import Document
from podwright.oci.host import Host
from podwright.state.index import Index
from podwright.state.records import Container, Sandbox
from podwright.trace import step

logger = logging.getLogger(__name__)

ChangeLimits = Callable[[Container, cri.LinuxContainerResources, Document], Awaitable[None]]
"""Sets limits of a container: those of the CRI, and a part of linux.resources."""


_LIVING = ("ready", "created", "starting", "running")
"""Phases of sandboxes and containers whose end plugins have still to be told of."""


class Nri:
    """The Node Resource Interface of this daemon."""

    def __init__(
        self,
        settings: Settings,
        index: Index,
        host: Host,
        *,
        pins: Callable[[Sandbox], Mapping[Any, str]],
        bundle: Callable[[str], str],
    ) -> None:
        """`pins` tells where the namespaces of a sandbox are pinned, `bundle` where a container's OCI document is."""
        self._index = index
        self._host = host
        self._pins = pins
        self._bundle = bundle
        self._plugins = Plugins(settings, self._snapshot, self._carry_out)
        self._told: dict[str, Literal["made", "stopped"]] = {}
        self.change_limits: ChangeLimits
        self.evict: Callable[[Container], Awaitable[None]]
        """Set by those who know how."""

    async def start(self) -> None:
        """Takes plugins, once the index has been read."""
        objects: list[Sandbox | Container] = [*self._index.sandboxes.values(), *self._index.containers.values()]
        for what in objects:
            if what.status.phase != "creating":
                self._told[what.id] = "made" if what.status.phase in _LIVING else "stopped"
        await self._plugins.start()

    async def close(self) -> None:
        """Takes no more, and lets those there are go."""
        await self._plugins.close()

    @property
    def has_plugins(self) -> bool:
        """Whether there is anybody to tell."""
        return self._plugins.some

    def creation(self) -> AbstractAsyncContextManager[None]:
        """Holds off plugins that arrive, from before run_sandbox or create_container until the object can be seen."""
        return self._plugins.gate.creation()

    # sandboxes

    async def run_sandbox(self, sandbox: Sandbox) -> None:
        """Asks whether a sandbox that is all but ready may be. Raises FailedPrecondition."""
        self._told[sandbox.id] = "made"
        await self._tell(v1.RUN_POD_SANDBOX, sandbox, asks=True)

    async def update_sandbox(self, sandbox: Sandbox, wanted: cri.UpdatePodSandboxResourcesRequest) -> None:
        """Asks whether a sandbox may have new sums. Raises FailedPrecondition."""
        await self._tell(
            v1.UPDATE_POD_SANDBOX,
            sandbox,
            asks=True,
            overhead_linux_resources=limits.from_cri(wanted.overhead),
            linux_resources=limits.from_cri(wanted.resources),
        )

    async def post_update_sandbox(self, sandbox: Sandbox) -> None:
        """Tells of new sums."""
        await self._tell(v1.POST_UPDATE_POD_SANDBOX, sandbox)

    async def stop_sandbox(self, sandbox: Sandbox) -> None:
        """Tells once that all containers of a sandbox have stopped; it has its namespaces still."""
        if self._told.get(sandbox.id) == "made":
            self._told[sandbox.id] = "stopped"
            await self._tell(v1.STOP_POD_SANDBOX, sandbox)

    async def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Tells once that a sandbox goes."""
        if self._told.pop(sandbox.id, None):
            await self._tell(v1.REMOVE_POD_SANDBOX, sandbox)

    async def undo_sandbox(self, sandbox: Sandbox) -> None:
        """Tells of the end of a sandbox that never became ready, if plugins know of it."""
        await self.stop_sandbox(sandbox)
        await self.remove_sandbox(sandbox)

    # containers

    async def create_container(
        self, container: Container, spec: Document, present: cri.LinuxContainerResources, notes: list[str]
    ) -> cri.LinuxContainerResources:
        """Has plugins adjust the OCI document of a container; returns its limits, `present` before.

        `notes` gets wishes that this host cannot fulfil. Raises FailedPrecondition for a refusal or a conflict, and
        what comes of wishes that cannot be.
        """
        self._told[container.id] = "made"
        if not self._plugins.some:
            return present
        doing = f"CreateContainer of {container.title}"
        owners, wishes, all_adjustments = Owners(), Wishes(container.id), v1.ContainerAdjustment()
        with step("nri.CreateContainer", container.id):
            async with self._plugins.turn() as plugins:
                pod = describe.pod(container.sandbox, self._pins(container.sandbox))
                pristine = describe.container(container, spec)
                for plugin in plugins:
                    request = v1.CreateContainerRequest(pod=pod, container=describe.container(container, spec))
                    response = await plugin.tell(v1.CREATE_CONTAINER, request, doing)
                    if not isinstance(response, v1.CreateContainerResponse):
                        continue
                    owners.adjust(plugin.title, container.id, response.adjust)
                    wishes.add(plugin.title, owners, response.update, response.evict)
                    try:
                        present = await asyncio.to_thread(
                            adjust.apply, spec, present, response.adjust, self._host, notes
                        )
                    except PodwrightError as error:
                        raise type(error)(f'NRI plugin "{plugin.title}" adjusts {container.title}: {error}') from None
                    all_adjustments.MergeFrom(response.adjust)
                validation = v1.ValidateContainerAdjustmentRequest(
                    pod=pod,
                    container=pristine,
                    adjust=all_adjustments,
                    update=wishes.updates.values(),
                    owners=owners.message(),
                    plugins=[v1.PluginInstance(name=plugin.name, index=plugin.index) for plugin in plugins],
                )
                await _validate(plugins, validation, doing)
        await self._carry_out(doing, wishes.updates.values(), wishes.evictions)
        return present

    async def post_create_container(self, container: Container) -> None:
        """Tells of a container that was created, as it is."""
        await self._tell(v1.POST_CREATE_CONTAINER, container)

    async def start_container(self, container: Container) -> None:
        """Asks whether a container may be started. Raises FailedPrecondition."""
        await self._tell(v1.START_CONTAINER, container, asks=True)

    async def post_start_container(self, container: Container) -> None:
        """Tells of a container that runs."""
        await self._tell(v1.POST_START_CONTAINER, container)

    async def update_container(
        self, container: Container, wanted: cri.LinuxContainerResources
    ) -> tuple[cri.LinuxContainerResources, Document]:
        """Has plugins change what an update of a container is: limits of the CRI, and a part of linux.resources.

        Not to be called with the container's lock held: other containers are updated. Raises FailedPrecondition.
        """
        if not self._plugins.some:
            return wanted, {}
        doing = f"UpdateContainer of {container.title}"
        owners, wishes, changed = Owners(), Wishes(), limits.from_cri(wanted)
        with step("nri.UpdateContainer", container.id):
            async with self._plugins.turn() as plugins:
                fields = await self._fields(container)
                for plugin in plugins:
                    request = v1.UpdateContainerRequest(**fields, linux_resources=changed)
                    response = await plugin.tell(v1.UPDATE_CONTAINER, request, doing)
                    if not isinstance(response, v1.UpdateContainerResponse):
                        continue
                    wishes.add(plugin.title, owners, response.update, response.evict)
                    own = wishes.updates.pop(container.id, None)
                    if own is not None:
                        limits.override(changed, own.linux.resources)
        await self._carry_out(doing, wishes.updates.values(), wishes.evictions)
        return limits.split(changed)

    async def post_update_container(self, container: Container) -> None:
        """Tells of new limits."""
        await self._tell(v1.POST_UPDATE_CONTAINER, container)

    async def stop_container(self, container: Container) -> None:
        """Tells once that a container has ended, whoever ended it, and does what plugins wish for others then.

        Not to be called with the lock of a container held that others may want to update.
        """
        if self._told.get(container.id) != "made":
            return
        self._told[container.id] = "stopped"
        wishes, owners = Wishes(), Owners()
        for plugin, response in await self._tell(v1.STOP_CONTAINER, container):
            assert isinstance(response, v1.StopContainerResponse)
            try:
                wishes.add(plugin, owners, response.update, ())
            except FailedPrecondition as error:
                logger.warning("%s", error)
        await self._carry_out(f"StopContainer of {container.title}", wishes.updates.values(), ())

    async def remove_container(self, container: Container) -> None:
        """Tells once that a container goes."""
        if self._told.pop(container.id, None):
            await self._tell(v1.REMOVE_CONTAINER, container)

    async def undo_container(self, container: Container) -> None:
        """Tells of the end of a container that was never created, if plugins know of it."""
        await self.stop_container(container)
        await self.remove_container(container)

    # how

    async def _tell(
        self,
        event: int,
        what: Sandbox | Container,
        *,
        asks: bool = False,
        **fields: Any,  # noqa: ANN401  of the request
    ) -> list[tuple[str, Message]]:
        """Tells plugins of an event; returns what they answer, by their titles.

        With `asks` a refusal raises FailedPrecondition; otherwise it comes too late, and is logged.
        """
        answers: list[tuple[str, Message]] = []
        if not self._plugins.some:
            return answers
        async with self._plugins.turn() as plugins:
            wanting = [plugin for plugin in plugins if plugin.wants(event)]
            if not wanting:
                return answers
            with step(f"nri.{EVENTS[event]}", what.id):
                request = PLUGIN_METHODS[EVENTS[event]][0](**await self._fields(what), **fields)
                for plugin in wanting:
                    try:
                        response = await plugin.tell(event, request, f"{EVENTS[event]} of {what.title}")
                    except FailedPrecondition as error:
                        if asks:
                            raise
                        logger.warning("%s, but it goes on", error)
                        continue
                    if response is not None:
                        answers.append((plugin.title, response))
        return answers

    async def _fields(self, what: Sandbox | Container) -> dict[str, Any]:
        """What requests have as `pod`, and as `container`."""
        if isinstance(what, Sandbox):
            return {"pod": describe.pod(what, self._pins(what))}
        spec = await asyncio.to_thread(_read, f"{self._bundle(what.id)}/config.json")
        return {
            "pod": describe.pod(what.sandbox, self._pins(what.sandbox)),
            "container": describe.container(what, spec),
        }

    async def _snapshot(self) -> tuple[list[v1.PodSandbox], list[v1.Container]]:
        """All sandboxes, and the containers that live."""
        pods = [
            describe.pod(sandbox, self._pins(sandbox))
            for sandbox in self._index.sandboxes.values()
            if sandbox.status.phase in ("ready", "stopped")
        ]
        living = [container for container in self._index.containers.values() if container.status.phase in _LIVING]
        paths = [f"{self._bundle(container.id)}/config.json" for container in living]
        specs = await asyncio.to_thread(lambda: [_read(path) for path in paths])
        return pods, [describe.container(*pair) for pair in zip(living, specs, strict=True)]

    async def _carry_out(
        self, by: str, updates: Iterable[v1.ContainerUpdate], evictions: Iterable[v1.ContainerEviction]
    ) -> list[v1.ContainerUpdate]:
        """Does what plugins wish for other containers; returns what failed and may not. `by` begins messages."""
        failed = []
        for eviction in evictions:
            try:
                container = self._living(eviction.container_id)
                logger.info("%s: evicting %s: %s", by, container.title, eviction.reason)
                await self.evict(container)
            except PodwrightError as error:
                logger.warning("%s: cannot evict container %s: %s", by, eviction.container_id, error)
        for update in updates:
            try:
                container = self._living(update.container_id)
                await self.change_limits(container, *limits.split(update.linux.resources))
            except PodwrightError as error:
                logger.warning("%s: cannot update container %s: %s", by, update.container_id, error)
                if not update.ignore_failure:
                    failed.append(update)
        return failed

    def _living(self, container_id: str) -> Container:
        """A container that is neither half made nor over: the locks of others may be held by who waits for us.

        Raises NotFound, FailedPrecondition.
        """
        container = self._index.containers.get(container_id)
        if container is None:
            raise NotFound(f'container "{container_id}" not found')
        if container.status.phase not in ("created", "running"):
            raise FailedPrecondition(f"container {container.title} is {container.status.phase}")
        return container


async def _validate(plugins: Iterable[Plugin], request: v1.ValidateContainerAdjustmentRequest, doing: str) -> None:
    """Has validators say whether a container may be as others have made it. One that fails is no consent."""
    for plugin in plugins:
        response = await plugin.tell(v1.VALIDATE_CONTAINER_ADJUSTMENT, request, doing)
        if plugin.gone and plugin.validates:
            raise FailedPrecondition(f'NRI plugin "{plugin.title}" has left before it could validate {doing}')
        if isinstance(response, v1.ValidateContainerAdjustmentResponse) and response.reject:
            raise FailedPrecondition(f'NRI plugin "{plugin.title}" rejects {doing}: {response.reason}')


def _read(path: str) -> Document:
    """An OCI document; empty if it is gone."""
    try:
        with open(path, "rb") as file:
            document: Document = json.load(file)
            return document
    except FileNotFoundError:
        return {}
