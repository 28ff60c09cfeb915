"""ContainerStats and ListContainerStats: figures of running containers."""

import asyncio
from collections.abc import Sequence

from podwright.clock import now_ns
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.state.records import Container
from podwright.stats import stats_messages as fill

FIRST_WALK_SECONDS = 1.0
"""How long an answer may wait for the first measurement of what a container has written; later ones never wait."""


def read_stats(runtime: Runtime, containers: Sequence[Container]) -> list[v1.ContainerStats]:
    """Figures of running containers. Blocking. One that ends meanwhile has attributes and no figures."""
    written = {container.id: runtime.paths.written(container.id) for container in containers}
    usages = runtime.stats.trees.usages(written, wait=FIRST_WALK_SECONDS)
    found = []
    for container in containers:
        stats = v1.ContainerStats(attributes=_attributes(container))
        sample = runtime.stats.meters.sample(container.id, container.status.cgroup)
        if sample is not None:
            now = now_ns()
            fill.fill_cpu(stats.cpu, sample, now)
            fill.fill_memory(stats.memory, sample, now)
            fill.fill_io(stats.io, sample, now)
            fill.fill_swap(stats.swap, sample, now)
        if usage := usages.get(container.id):
            fill.fill_writable_layer(stats.writable_layer, usage, runtime.paths.containers)
        found.append(stats)
    return found


async def written_by_all(runtime: Runtime) -> tuple[int, int]:
    """Bytes on disk and inodes of what all containers, running or not, have written; half a minute old at most, as far
    as it could be measured since.
    """
    written = {container_id: runtime.paths.written(container_id) for container_id in runtime.index.containers}
    usages = await asyncio.to_thread(runtime.stats.trees.usages, written, wait=FIRST_WALK_SECONDS)
    return sum(usage.size for usage in usages.values()), sum(usage.inodes for usage in usages.values())


def _attributes(container: Container) -> v1.ContainerAttributes:
    config = container.config
    return v1.ContainerAttributes(
        id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )
