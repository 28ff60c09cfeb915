"""The node at work: everything that goes on beside one another until the node ends."""

import asyncio
import logging
import math
import ssl
import time
from typing import Final

from podwright.errors import FailedPrecondition
from podwright.node.agent import Agent
from podwright.node.api import certificate, http
from podwright.node.api.auth import Door, Reviewer
from podwright.node.api.routes import Routes
from podwright.node.cluster_member import Member
from podwright.node.container_gc import ContainerGc
from podwright.node.context import Node
from podwright.node.flags import Flags
from podwright.node.image_gc import ImageGc
from podwright.node.log_rotation import LogRotation
from podwright.node.manifests import Manifests
from podwright.node.node_pods import Source
from podwright.node.pressure import Pressures
from podwright.node.runtime_health import RuntimeHealth
from podwright.pods import quantity

logger = logging.getLogger(__name__)

_BLIND_AFTER: Final = 180.0
"""Seconds without a look at the runtime after which the node says that it is not healthy; the kubelet's PLEG has it."""


class Service:
    """A node with its sources, its upkeep and its ways in."""

    def __init__(self, node: Node, given: Flags, manifests: Manifests | None, member: Member | None) -> None:
        """Nothing goes on before `run`."""
        self._node = node
        self._given = given
        self._manifests = manifests
        self._member = member

    async def run(self) -> None:
        """Goes on until it is cancelled. Raises what makes a node useless from the start."""
        node, settings = self._node, self._node.configuration
        await node.observed.look()
        health = RuntimeHealth(node.cri)
        await health.look()
        sources: list[Source] = []
        if self._manifests is not None:
            sources.append("file")
        if self._member is not None:
            sources.append("api")
        async with asyncio.TaskGroup() as group:
            agent = Agent(node, sources, group)
            node.observed.changed = agent.seen
            images = ImageGc(node)
            pressures = Pressures(node, agent, images)
            rotation = LogRotation(
                node.cri,
                node.observed,
                math.ceil(quantity.parse(settings.container_log_max_size, "containerLogMaxSize")),
                settings.container_log_max_files,
                settings.duration("container_log_monitor_interval"),
            )
            await self._listen(agent)
            for work in (
                node.observed.watch(),
                health.for_ever(),
                ContainerGc(node, agent).for_ever(),
                images.for_ever(),
                pressures.for_ever(),
                rotation.for_ever(),
            ):
                group.create_task(work)
            if self._manifests is not None:
                group.create_task(self._read_manifests(agent, self._manifests))
            if self._member is not None:
                group.create_task(self._member.run(node, self._given, agent, health, pressures))

    async def _listen(self, agent: Agent) -> None:
        """Opens the ports. Raises FailedPrecondition, InvalidArgument."""
        node, settings = self._node, self._node.configuration
        reviewer: Reviewer | None = self._member.reviews if self._member is not None else None
        everybody = Routes(node, agent, self._problem, Door(settings, node.name, reviewer))
        onlookers = Routes(node, agent, self._problem, None)
        if settings.port:
            context = await asyncio.to_thread(
                certificate.context, settings, self._given.cert_dir, node.name, node.addresses
            )
            await _serve(everybody, settings.address, settings.port, context)
        if settings.read_only_port:
            await _serve(onlookers, settings.address, settings.read_only_port, None)
        if settings.healthz_port:
            await _serve(_OnlyHealth(onlookers), settings.healthz_bind_address, settings.healthz_port, None)

    def _problem(self) -> str:
        """What is wrong with this process; its runtime's state is the node's, not its own."""
        blind = time.monotonic() - self._node.observed.last_look
        return f"the runtime was last seen {blind:.0f} s ago" if blind > _BLIND_AFTER else ""

    async def _read_manifests(self, agent: Agent, manifests: Manifests) -> None:
        async for pods in manifests.changes():
            agent.heard("file", pods)


class _OnlyHealth:
    """A port that tells nothing else."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def __call__(self, exchange: http.Exchange) -> None:
        """Answers /healthz. Raises HttpError."""
        if not exchange.path.startswith("/healthz"):
            raise http.HttpError(404, "404 page not found")
        await self._routes(exchange)


async def _serve(handler: http.Handler, address: str, port: int, context: ssl.SSLContext | None) -> None:
    try:
        await http.serve(handler, address, port, context)
    except OSError as error:
        raise FailedPrecondition(f"port {address}:{port} cannot be opened: {error.strerror}") from None
    logger.info("listening on %s:%d%s", address, port, " (TLS)" if context else "")
