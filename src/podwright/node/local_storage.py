"""Pods that use more of the node's disk than they may: emptyDir.sizeLimit and limits of ephemeral-storage.

A pod's usage is what its containers have written into themselves and into their logs, and its emptyDir volumes on
disk. The rules and texts are the kubelet's (localStorageEviction, pkg/kubelet/eviction/eviction_manager.go).
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from podwright.node.context import Node
from podwright.node.node_pods import NodePod
from podwright.node.observed import CONTAINER, UID
from podwright.node.places import in_memory
from podwright.pods import quantity
from podwright.pods.schema import Container, Pod, Volume

_RESOURCE: Final = "ephemeral-storage"


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes on disk, by the names of containers and of volumes."""

    containers: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)


async def excesses(node: Node, pods: list[NodePod]) -> list[tuple[NodePod, str]]:
    """The pods that are above a limit, and above which. Raises what the runtime answers."""
    limited = [pod for pod in pods if _is_limited(pod.pod)]
    if not limited:
        return []
    layers: dict[str, dict[str, int]] = {}
    for stats in (await node.cri.list_container_stats()).stats:
        labels = stats.attributes.labels
        of_pod = layers.setdefault(labels.get(UID, ""), {})
        of_pod[labels.get(CONTAINER, "")] = stats.writable_layer.used_bytes.value
    usages = await asyncio.to_thread(lambda: [_measured(node, pod, layers.get(pod.uid, {})) for pod in limited])
    found = [(pod, excess(pod.pod, usage)) for pod, usage in zip(limited, usages, strict=True)]
    return [(pod, message) for pod, message in found if message]


def excess(pod: Pod, usage: Usage) -> str:
    """Which limit the pod is above; empty if none."""
    for volume in pod.spec.volumes:
        if _is_on_disk(volume) and (size := _size_limit(volume)) is not None and usage.volumes[volume.name] > size:
            assert volume.empty_dir is not None
            return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{volume.empty_dir.size_limit}". '
    limits = {item.name: limit for item in pod.spec.containers if (limit := _limit(item)) is not None}
    whole = sum(usage.containers.values()) + sum(usage.volumes.values())
    if limits and whole > sum(limits.values()):
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {sum(limits.values()):f}. "
    for container in pod.spec.containers:
        if container.name in limits and usage.containers.get(container.name, 0) > limits[container.name]:
            text = container.resources.limits[_RESOURCE]
            return f'Container {container.name} exceeded its local ephemeral storage limit "{text}". '
    return ""


def _is_limited(pod: Pod) -> bool:
    containers = any(_limit(container) is not None for container in pod.spec.containers)
    return containers or any(_is_on_disk(item) and _size_limit(item) is not None for item in pod.spec.volumes)


def _limit(container: Container) -> Decimal | None:
    text = container.resources.limits.get(_RESOURCE)
    return None if text is None else quantity.parse(text, _RESOURCE)


def _is_on_disk(volume: Volume) -> bool:
    return volume.empty_dir is not None and not in_memory(volume)


def _size_limit(volume: Volume) -> Decimal | None:
    text = volume.empty_dir.size_limit if volume.empty_dir is not None else None
    return None if text is None else quantity.parse(text, "sizeLimit")


def _measured(node: Node, pod: NodePod, layers: Mapping[str, int]) -> Usage:
    places = node.places.pod(pod.uid, pod.namespace, pod.name)
    return Usage(
        {name: layer + _disk_usage(f"{places.logs}/{name}") for name, layer in layers.items()},
        {volume.name: _disk_usage(places.volume(volume)) for volume in pod.pod.spec.volumes if _is_on_disk(volume)},
    )


def _disk_usage(path: str) -> int:
    """What a tree takes up on disk, each file once. What goes meanwhile is not counted."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, names in os.walk(path):
        for name in [*names, "."]:
            try:
                found = os.lstat(f"{directory}/{name}")
            except FileNotFoundError:
                continue
            seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())
