"""Whether the node runs out of something, what its conditions say then, and which pod has to go.

Signals and thresholds are the kubelet's hard ones (evictionHard). Under disk pressure unused images go first. Then one
pod at a time is failed: first those that use more than they have asked for, among them the least important, among
those the one that is furthest above (pkg/kubelet/eviction/helpers.go). Pods whose priority is critical stay. Unlike
with a kubelet, being static is no reason to: without a cluster all pods are.
"""

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from podwright.errors import PodwrightError
from podwright.node import local_storage, machine, qos
from podwright.node.agent import Agent
from podwright.node.context import Node
from podwright.node.events import About
from podwright.node.image_gc import ImageGc
from podwright.node.observed import UID
from podwright.node.worker import Worker

logger = logging.getLogger(__name__)

_PERIOD: Final = 10.0  # seconds
_CRITICAL: Final = 2_000_000_000  # SystemCriticalPriority
Pressure = Literal["MemoryPressure", "DiskPressure", "PIDPressure"]

_SIGNALS: Final[Mapping[str, tuple[Pressure, str]]] = {
    "memory.available": ("MemoryPressure", "memory"),
    "nodefs.available": ("DiskPressure", "ephemeral-storage"),
    "nodefs.inodesFree": ("DiskPressure", "inodes"),
    "imagefs.available": ("DiskPressure", "ephemeral-storage"),
    "imagefs.inodesFree": ("DiskPressure", "inodes"),
    "pid.available": ("PIDPressure", "pids"),
}


@dataclass(slots=True)
class Pressures:
    """Looks every ten seconds."""

    node: Node
    agent: Agent
    images: ImageGc
    under: dict[Pressure, float] = field(default_factory=dict)
    """When a pressure was last seen, time.monotonic()."""
    _image_mount: str = ""

    async def for_ever(self) -> None:
        """Looks again and again."""
        while True:
            try:
                await self.look()
            except (PodwrightError, OSError) as error:
                logger.warning("signals for eviction: %s", error)
            await asyncio.sleep(_PERIOD)

    def is_under(self, pressure: Pressure) -> bool:
        """Whether the condition holds; it does for a while after the signal has gone."""
        period = self.node.configuration.duration("eviction_pressure_transition_period")
        return pressure in self.under and time.monotonic() - self.under[pressure] < period

    async def look(self) -> None:
        """Looks at all signals, and does something about the first that is met; before that, at pods by themselves."""
        await self._look_at_pods()
        if not self._image_mount:
            filesystems = (await self.node.cri.image_fs_info()).image_filesystems
            self._image_mount = filesystems[0].fs_id.mountpoint if filesystems else ""
        values = await asyncio.to_thread(signals, self.node.places.root, self._image_mount)
        for signal, wanted in self.node.configuration.eviction_hard.items():
            if signal not in values or signal not in _SIGNALS:
                continue
            available, whole = values[signal]
            least = machine.threshold(wanted, Decimal(whole), f"evictionHard.{signal}")
            if available >= least:
                continue
            pressure, resource = _SIGNALS[signal]
            self.under[pressure] = time.monotonic()
            about = About("Node", self.node.name, "", self.node.name)
            self.node.recorder.tell(about, "Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource}")
            if pressure == "DiskPressure" and await self.images.collect(all_unused=True):
                return
            await self._evict(signal, resource, available, least)
            return

    async def _evict(self, signal: str, resource: str, available: int, least: Decimal) -> None:
        usage = await self._usage(resource)
        ranked = rank([worker for worker in self.agent.workers.values() if _can_go(worker)], usage, resource)
        if not ranked:
            logger.warning("%s: eviction needs a pod, and there is none that may go", signal)
            return
        worker = ranked[0]
        message = (
            f"The node was low on resource: {resource}. Threshold quantity: {least:.0f}, available: {available}. "
            f"The pod was using {usage.get(worker.pod.uid, 0)}, request is {_asked(worker, resource):.0f}."
        )
        self._end(worker, message)

    async def _look_at_pods(self) -> None:
        """Ends those that use more disk than they may."""
        running = [worker.pod for worker in self.agent.workers.values() if _can_go(worker)]
        for pod, message in await local_storage.excesses(self.node, running):
            self._end(self.agent.workers[pod.uid], message)

    def _end(self, worker: Worker, message: str) -> None:
        self.node.recorder.tell(About.pod(worker.pod), "Warning", "Evicted", message)
        worker.give_up("Evicted", message)

    async def _usage(self, resource: str) -> dict[str, int]:
        """What each pod uses, in bytes by uid."""
        found: dict[str, int] = {}
        for stats in (await self.node.cri.list_container_stats()).stats:
            uid = stats.attributes.labels.get(UID, "")
            amount = stats.memory.working_set_bytes if resource == "memory" else stats.writable_layer.used_bytes
            found[uid] = found.get(uid, 0) + amount.value
        return found


def signals(root: str, images: str) -> dict[str, tuple[int, int]]:
    """What is available and how much there is in all, by signal. Blocks."""
    result = {"memory.available": (machine.memory_available(), machine.memory_total())}
    for name, path in (("nodefs", root), ("imagefs", images)):
        if path and os.path.exists(path):
            disk = os.statvfs(path)
            result[f"{name}.available"] = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)
            result[f"{name}.inodesFree"] = (disk.f_favail, disk.f_files)
    running, most = machine.processes()
    result["pid.available"] = (most - running, most)
    return result


def rank(workers: list[Worker], usage: Mapping[str, int], resource: str) -> list[Worker]:
    """Who is to go first."""

    def order(worker: Worker) -> tuple[bool, int, Decimal]:
        above = usage.get(worker.pod.uid, 0) - _asked(worker, resource)
        return above <= 0, worker.pod.pod.spec.priority or 0, -above

    return sorted(workers, key=order)


def _asked(worker: Worker, resource: str) -> Decimal:
    return qos.total(worker.pod.pod, "requests", resource) or Decimal(0)


def _can_go(worker: Worker) -> bool:
    critical = (worker.pod.pod.spec.priority or 0) >= _CRITICAL
    return not (worker.finished or worker.ending or worker.failed or critical)
