"""The node at work: everything that goes on beside one another until the node ends."""

import asyncio
import logging

from podwright.node.agent import Agent
from podwright.node.context import Node
from podwright.node.flags import Flags
from podwright.node.manifests import Manifests
from podwright.node.node_pods import Source

logger = logging.getLogger(__name__)


class Service:
    """A node with its sources and its ways in."""

    def __init__(self, node: Node, given: Flags, manifests: Manifests | None) -> None:
        """Nothing goes on before `run`."""
        self._node = node
        self._given = given
        self._manifests = manifests

    async def run(self) -> None:
        """Goes on until it is cancelled. Raises what makes a node useless from the start."""
        node = self._node
        await node.observed.look()
        sources: list[Source] = []
        if self._manifests is not None:
            sources.append("file")
        async with asyncio.TaskGroup() as group:
            agent = Agent(node, sources, group)
            node.observed.changed = agent.seen
            group.create_task(node.observed.watch())
            if self._manifests is not None:
                group.create_task(self._read_manifests(agent, self._manifests))

    async def _read_manifests(self, agent: Agent, manifests: Manifests) -> None:
        async for pods in manifests.changes():
            agent.heard("file", pods)
