"""Figures of containers, from the files of their cgroups."""

import os
from collections.abc import Sequence

from podwright.clock import now_ns
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.state.records import Container


def read_stats(runtime: Runtime, containers: Sequence[Container]) -> list[v1.ContainerStats]:
    """Figures of running containers. Blocking. One that ends meanwhile has attributes and no figures."""
    return [_read(runtime, container) for container in containers]


def _read(runtime: Runtime, container: Container) -> v1.ContainerStats:
    config = container.config
    stats = v1.ContainerStats(
        attributes=v1.ContainerAttributes(
            id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
        )
    )
    usage = runtime.host.cgroups.usage(container.status.cgroup)
    now = now_ns()
    if usage is not None:
        stats.cpu.timestamp = now
        stats.cpu.usage_core_nano_seconds.value = usage.cpu_ns
        stats.memory.timestamp = now
        stats.memory.usage_bytes.value = usage.memory
        stats.memory.working_set_bytes.value = usage.working_set
        stats.memory.rss_bytes.value = usage.rss
        stats.memory.page_faults.value = usage.page_faults
        stats.memory.major_page_faults.value = usage.major_page_faults
        if usage.memory_limit is not None:
            stats.memory.available_bytes.value = max(usage.memory_limit - usage.working_set, 0)
    used, inodes = _tree_usage(f"{runtime.paths.container(container.id)}/upper")
    stats.writable_layer.timestamp = now
    stats.writable_layer.fs_id.mountpoint = runtime.paths.images
    stats.writable_layer.used_bytes.value = used
    stats.writable_layer.inodes_used.value = inodes
    return stats


def _tree_usage(directory: str) -> tuple[int, int]:
    """Bytes on the disk and inodes of a tree, as du(1) counts them but for hard links."""
    used = inodes = 0
    for below, directories, files in os.walk(directory):
        inodes += 1
        for name in (*directories, *files):
            try:
                status = os.lstat(f"{below}/{name}")
            except FileNotFoundError:
                continue
            used += status.st_blocks * 512
            inodes += name in files
    return used, inodes
