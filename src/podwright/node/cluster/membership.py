"""All that goes on between a node and its cluster, put together."""

import asyncio
from dataclasses import dataclass

from podwright.node.agent import Agent
from podwright.node.cluster.client import Cluster
from podwright.node.cluster.events import EventSink
from podwright.node.cluster.leases import NodeLease
from podwright.node.cluster.mirrors import Mirrors
from podwright.node.cluster.objects import ClusterObjects
from podwright.node.cluster.pods import PodSource
from podwright.node.cluster.registration import Registration
from podwright.node.cluster.reviews import Reviews
from podwright.node.cluster.services import Services
from podwright.node.cluster.statuses import Statuses
from podwright.node.context import Node
from podwright.node.flags import Flags
from podwright.node.pressure import Pressures
from podwright.node.runtime_health import RuntimeHealth


@dataclass(slots=True)
class Membership:
    """A node in a cluster."""

    cluster: Cluster
    services: Services
    objects: ClusterObjects

    @classmethod
    def join(cls, node: Node, kubeconfig: str) -> "Membership":
        """Reads the kubeconfig and lets pods of the cluster find their objects. Raises InvalidArgument."""
        cluster = Cluster(kubeconfig, node.name)
        services = Services(cluster)
        objects = ClusterObjects(cluster, services)
        node.objects["api"] = objects
        return cls(cluster, services, objects)

    @property
    def reviews(self) -> Reviews:
        """Who answers for people at the node's door."""
        return Reviews(self.cluster)

    async def run(self, node: Node, given: Flags, agent: Agent, health: RuntimeHealth, pressures: Pressures) -> None:
        """Registers the node and goes on for ever."""
        events = EventSink(self.cluster, node.name)
        node.recorder.listeners.append(events.put)
        registration = Registration(self.cluster, node, given, health, pressures, agent.labelled)
        await registration.register()
        agent.labelled(registration.document["metadata"].get("labels") or {})
        mirrors = Mirrors(self.cluster, node.name, agent, registration.uid)
        statuses = Statuses(self.cluster, mirrors)
        node.on_status.append(statuses.put)
        node.on_status.append(lambda _pod, _status: mirrors.wake())
        agent.on_gone += [statuses.gone, self.objects.forget, lambda _: mirrors.wake()]
        for worker in agent.workers.values():
            worker.tell_again()
        seconds = node.configuration.node_lease_duration_seconds
        async with asyncio.TaskGroup() as group:
            for work in (
                registration.for_ever(),
                registration.watch(),
                NodeLease(self.cluster, node.name, seconds, registration.uid).for_ever(),
                events.for_ever(),
                statuses.for_ever(),
                mirrors.for_ever(),
                self.services.for_ever(),
                PodSource(self.cluster, node.name, agent, mirrors, statuses).for_ever(),
            ):
                group.create_task(work)
