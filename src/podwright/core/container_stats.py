"""ContainerStats and ListContainerStats: figures of running containers."""

import asyncio
from collections.abc import Mapping, Sequence

from podwright.clock import now_ns
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.state.records import Container
from podwright.stats import stats_messages as fill
from podwright.stats.trees import TreeUsage

FIRST_WALK_SECONDS = 1.0
"""How long an answer may wait for the first measurement of what a container has written; later ones never wait."""


def read_stats(runtime: Runtime, containers: Sequence[Container]) -> v1.ListContainerStatsResponse:
    """Figures of running containers. Blocking. One that ends meanwhile has attributes and no figures."""
    usages = written(runtime, containers)
    response = v1.ListContainerStatsResponse()
    for container in containers:
        fill_stats(response.stats.add(), runtime, container, usages.get(container.id))
    return response


def written(runtime: Runtime, containers: Sequence[Container]) -> Mapping[str, TreeUsage]:
    """What containers have written, by id, as far as it is known yet. Blocking."""
    roots = {container.id: runtime.paths.written(container.id) for container in containers}
    return runtime.stats.trees.usages(roots, wait=FIRST_WALK_SECONDS)


def fill_stats(stats: v1.ContainerStats, runtime: Runtime, container: Container, usage: TreeUsage | None) -> None:
    """Fills in one container's."""
    stats.attributes.MergeFromString(runtime.stats.attributes(container))
    sample = runtime.stats.meters.sample(container.id, container.status.cgroup)
    if sample is not None:
        now = now_ns()
        fill.fill_cpu(stats.cpu, sample, now)
        fill.fill_memory(stats.memory, sample, now)
        fill.fill_io(stats.io, sample, now)
        fill.fill_swap(stats.swap, sample, now)
    if usage is not None:
        fill.fill_writable_layer(stats.writable_layer, usage, runtime.paths.containers)


async def written_by_all(runtime: Runtime) -> tuple[int, int]:
    """Bytes on disk and inodes of what all containers, running or not, have written; half a minute old at most, as far
    as it could be measured since.
    """
    usages = await asyncio.to_thread(written, runtime, list(runtime.index.containers.values()))
    return sum(usage.size for usage in usages.values()), sum(usage.inodes for usage in usages.values())
