"""Garbage collection of containers, sandboxes and what pods have left on disk.

Of each container of a pod that is still here the newest ended one is kept, for its log and its status; the older ones
go. Sandboxes go when they have died and hold nothing. Of pods that nobody names everything goes.
"""

import asyncio
import logging
import os
import shutil
from dataclasses import dataclass
from typing import Final

from podwright.errors import PodwrightError
from podwright.node import volumes
from podwright.node.agent import Agent
from podwright.node.context import Node
from podwright.node.observed import SeenPod

logger = logging.getLogger(__name__)

_PERIOD: Final = 60.0  # seconds, the kubelet's


@dataclass(slots=True)
class ContainerGc:
    """Collects once a minute."""

    node: Node
    agent: Agent

    async def for_ever(self) -> None:
        """Collects again and again."""
        while True:
            await asyncio.sleep(_PERIOD)
            try:
                await self.collect()
            except (PodwrightError, OSError) as error:
                logger.warning("garbage collection of containers: %s", error)

    async def collect(self) -> None:
        """One collection. Nothing is collected before every source has spoken."""
        if not self.agent.ready:
            return
        self.agent.end_orphans()
        for seen in list(self.node.observed.pods.values()):
            if seen.uid in self.agent.workers:
                await self._collect_from(seen)
        there = await asyncio.to_thread(_on_host, self.node)  # before asking who is known: pods may come meanwhile
        unknown = there - self.agent.workers.keys() - self.node.observed.pods.keys()
        await asyncio.to_thread(_remove_from_host, self.node, unknown)

    async def _collect_from(self, seen: SeenPod) -> None:
        kept: set[str] = set()
        gone: set[str] = set()
        for container in seen.containers:  # newest first
            if container.running or not container.ended:
                continue
            if container.name in kept:
                await self.node.cri.remove_container(container.id)
                gone.add(container.id)
            kept.add(container.name)
        holding = {container.sandbox_id for container in seen.containers if container.id not in gone}
        for sandbox in seen.sandboxes[1:]:
            if sandbox.id not in holding:
                await self.node.cri.stop_pod_sandbox(sandbox.id)
                await self.node.cri.remove_pod_sandbox(sandbox.id)
                gone.add(sandbox.id)
        if gone:
            await self.node.observed.refresh(seen.uid)


def _on_host(node: Node) -> set[str]:
    """The pods of which anything is on this machine. Blocks."""
    of_logs = {name.rpartition("_")[2] for name in os.listdir(node.places.logs)}
    return {*os.listdir(node.places.pods), *node.cgroups.uids(), *of_logs}


def _remove_from_host(node: Node, uids: set[str]) -> None:
    """Removes what these pods have left, and links to logs that are no more. Blocks."""
    places = node.places
    for uid in uids:
        logger.info("removing what pod %s has left", uid)
        volumes.tear_down(f"{places.pods}/{uid}")
        node.cgroups.remove(uid)
    for name in os.listdir(places.logs):
        if name.rpartition("_")[2] in uids:
            shutil.rmtree(f"{places.logs}/{name}", ignore_errors=True)
    if os.path.isdir(places.log_links):
        for name in os.listdir(places.log_links):
            link = f"{places.log_links}/{name}"
            if os.path.islink(link) and not os.path.exists(link):
                os.unlink(link)
