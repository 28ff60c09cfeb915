"""/stats/summary: what the node, its pods and its containers use (stats.k8s.io summary API).

Figures of pods come from the runtime (ListPodSandboxStats, or ListContainerStats where that is all it has), those of
the node from the kernel.
"""

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from podwright.clock import now_ns
from podwright.cri import v1
from podwright.errors import Unimplemented
from podwright.node import machine
from podwright.node.agent import Agent
from podwright.node.context import Node
from podwright.node.observed import CONTAINER, UID, SeenPod
from podwright.node.times import rfc3339

_TICKS: Final = os.sysconf("SC_CLK_TCK")
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What a pod uses; containers by name."""

    seen: SeenPod
    containers: Mapping[str, v1.ContainerStats]
    sandbox: v1.LinuxPodSandboxStats | None
    cpu_ns: int
    memory: int
    """Bytes of the working set."""


async def usages(node: Node) -> list[PodUsage]:
    """What each pod uses. Raises what the runtime answers."""
    by_pod: dict[str, dict[str, v1.ContainerStats]] = {}
    sandboxes: dict[str, v1.LinuxPodSandboxStats] = {}
    try:
        for stats in (await node.cri.list_pod_sandbox_stats()).stats:
            uid = stats.attributes.metadata.uid
            sandboxes[uid] = stats.linux
            by_pod[uid] = {item.attributes.metadata.name: item for item in stats.linux.containers}
    except Unimplemented:
        for item in (await node.cri.list_container_stats()).stats:
            uid = item.attributes.labels.get(UID, "")
            name = item.attributes.labels.get(CONTAINER, item.attributes.metadata.name)
            by_pod.setdefault(uid, {})[name] = item
    found = []
    for uid, containers in by_pod.items():
        seen = node.observed.pods.get(uid)
        if seen is None:
            continue
        running = {item.name for item in seen.running}
        alive = {name: item for name, item in containers.items() if name in running}
        linux = sandboxes.get(uid)
        cpu = linux.cpu.usage_core_nano_seconds.value if linux is not None else 0
        memory = linux.memory.working_set_bytes.value if linux is not None else 0
        found.append(
            PodUsage(
                seen,
                alive,
                linux,
                cpu or sum(item.cpu.usage_core_nano_seconds.value for item in alive.values()),
                memory or sum(item.memory.working_set_bytes.value for item in alive.values()),
            )
        )
    return found


async def summary(node: Node, agent: Agent, *, only_cpu_and_memory: bool) -> Figures:
    """The whole answer. Raises what the runtime answers."""
    known = await usages(node)
    pods = [_pod(usage, only_cpu_and_memory) for usage in known if usage.seen.uid in agent.workers]
    figures = await asyncio.to_thread(_node, node.places.root, only_cpu_and_memory)
    result: Figures = {"nodeName": node.name, **figures}
    if not only_cpu_and_memory:
        filesystems = await node.cri.image_fs_info()
        result["runtime"] = {
            "imageFs": _fs(filesystems.image_filesystems),
            "containerFs": _fs(filesystems.container_filesystems or filesystems.image_filesystems),
        }
    return {"node": result, "pods": pods}


def _pod(usage: PodUsage, only_cpu_and_memory: bool) -> Figures:
    seen, now = usage.seen, rfc3339(now_ns())
    started = seen.sandbox.created_at if seen.sandbox is not None else 0
    result: Figures = {
        "podRef": {"name": seen.name, "namespace": seen.namespace, "uid": seen.uid},
        "startTime": rfc3339(started),
        "containers": [_container(seen, name, item, only_cpu_and_memory) for name, item in usage.containers.items()],
        "cpu": {"time": now, "usageCoreNanoSeconds": usage.cpu_ns},
        "memory": {"time": now, "workingSetBytes": usage.memory},
    }
    linux = usage.sandbox
    if linux is not None:
        if linux.cpu.HasField("usage_nano_cores"):
            result["cpu"]["usageNanoCores"] = linux.cpu.usage_nano_cores.value
        if linux.HasField("network") and not only_cpu_and_memory:
            result["network"] = _network(linux.network)
        if linux.HasField("process") and not only_cpu_and_memory:
            result["process_stats"] = {"process_count": linux.process.process_count.value}
    if "usageNanoCores" not in result["cpu"]:
        result["cpu"]["usageNanoCores"] = sum(item.cpu.usage_nano_cores.value for item in usage.containers.values())
    return result


def _container(seen: SeenPod, name: str, stats: v1.ContainerStats, only_cpu_and_memory: bool) -> Figures:
    found = seen.current(name)
    result: Figures = {
        "name": name,
        "startTime": rfc3339(found.status.started_at if found is not None else 0),
        "cpu": {
            "time": rfc3339(stats.cpu.timestamp),
            "usageNanoCores": stats.cpu.usage_nano_cores.value,
            "usageCoreNanoSeconds": stats.cpu.usage_core_nano_seconds.value,
        },
        "memory": {
            "time": rfc3339(stats.memory.timestamp),
            **_present(
                stats.memory,
                {
                    "availableBytes": "available_bytes",
                    "usageBytes": "usage_bytes",
                    "workingSetBytes": "working_set_bytes",
                    "rssBytes": "rss_bytes",
                    "pageFaults": "page_faults",
                    "majorPageFaults": "major_page_faults",
                },
            ),
        },
    }
    if only_cpu_and_memory:
        return result
    layer = stats.writable_layer
    result["rootfs"] = {
        "time": rfc3339(layer.timestamp),
        "usedBytes": layer.used_bytes.value,
        "inodesUsed": layer.inodes_used.value,
    }
    if found is not None and found.status.log_path:
        try:
            size = os.stat(found.status.log_path).st_size
        except OSError:
            size = 0
        result["logs"] = {"time": rfc3339(now_ns()), "usedBytes": size}
    return result


def _present(message: v1.MemoryUsage, names: Mapping[str, str]) -> Figures:
    return {shown: getattr(message, field).value for shown, field in names.items() if message.HasField(field)}


def _network(network: v1.NetworkUsage) -> Figures:
    def one(interface: v1.NetworkInterfaceUsage) -> Figures:
        return {
            "name": interface.name,
            "rxBytes": interface.rx_bytes.value,
            "rxErrors": interface.rx_errors.value,
            "txBytes": interface.tx_bytes.value,
            "txErrors": interface.tx_errors.value,
        }

    everyone = [network.default_interface, *network.interfaces]
    return {
        "time": rfc3339(network.timestamp),
        **one(network.default_interface),
        "interfaces": [one(interface) for interface in everyone if interface.name],
    }


def _fs(filesystems: Iterable[v1.FilesystemUsage]) -> Figures:
    for usage in filesystems:
        result = {
            "time": rfc3339(usage.timestamp or now_ns()),
            "usedBytes": usage.used_bytes.value,
            "inodesUsed": usage.inodes_used.value,
        }
        return {**_disk(usage.fs_id.mountpoint), **result}
    return {}


def _disk(path: str) -> Figures:
    try:
        disk = os.statvfs(path)
    except OSError:
        return {}
    return {
        "time": rfc3339(now_ns()),
        "availableBytes": disk.f_bavail * disk.f_frsize,
        "capacityBytes": disk.f_blocks * disk.f_frsize,
        "usedBytes": (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        "inodesFree": disk.f_favail,
        "inodes": disk.f_files,
        "inodesUsed": disk.f_files - disk.f_ffree,
    }


def node_cpu_ns() -> int:
    """What all CPUs have worked since the boot, in nanoseconds."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) * 10**9 // _TICKS  # less idle and iowait


def node_memory() -> int:
    """Bytes in use that cannot be given back at once."""
    return machine.memory_total() - machine.memory_available()


def _node(root: str, only_cpu_and_memory: bool) -> Figures:
    now = rfc3339(now_ns())
    result: Figures = {
        "startTime": rfc3339(int((time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)) * 10**9)),
        "cpu": {"time": now, "usageCoreNanoSeconds": node_cpu_ns()},
        "memory": {
            "time": now,
            "availableBytes": machine.memory_available(),
            "workingSetBytes": node_memory(),
        },
    }
    if only_cpu_and_memory:
        return result
    result["fs"] = _disk(root)
    result["network"] = {"time": now, "interfaces": _interfaces()}
    running, most = machine.processes()
    result["rlimit"] = {"time": now, "maxpid": most, "curproc": running}
    return result


def _interfaces() -> list[Figures]:
    found = []
    with open("/proc/net/dev", encoding="ascii") as lines:
        for line in list(lines)[2:]:
            name, _, words = line.partition(":")
            numbers = [int(word) for word in words.split()]
            if name.strip() != "lo":
                found.append(
                    {
                        "name": name.strip(),
                        "rxBytes": numbers[0],
                        "rxErrors": numbers[2],
                        "txBytes": numbers[8],
                        "txErrors": numbers[10],
                    }
                )
    return found
