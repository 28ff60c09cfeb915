"""What the node has of its cluster, as a port: only node/cluster/ needs an API server's client to be installed."""

from typing import Protocol

from podwright.node.agent import Agent
from podwright.node.api.auth import Reviewer
from podwright.node.context import Node
from podwright.node.flags import Flags
from podwright.node.pressure import Pressures
from podwright.node.runtime_health import RuntimeHealth


class Member(Protocol):
    """A node in a cluster."""

    @property
    def reviews(self) -> Reviewer:
        """Who answers for people at the node's door."""

    async def run(self, node: Node, given: Flags, agent: Agent, health: RuntimeHealth, pressures: Pressures) -> None:
        """Registers the node and goes on for ever."""
