"""ContainerStats, ListContainerStats and StreamContainerStats."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from podwright.core.container_stats import read_stats
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import FailedPrecondition
from podwright.server.dispatch import Call
from podwright.server.portions import portions
from podwright.state.index import matches_labels
from podwright.state.records import Container


async def container_stats(
    runtime: Runtime, request: v1.ContainerStatsRequest, _call: Call
) -> v1.ContainerStatsResponse:
    """Figures of one running container."""
    container = runtime.index.container(request.container_id)
    if container.status.phase != "running":
        raise FailedPrecondition(
            f"container {container.title} is {container.status.phase}: only a running one has figures"
        )
    (stats,) = (await asyncio.to_thread(read_stats, runtime, [container])).stats
    return v1.ContainerStatsResponse(stats=stats)


async def list_container_stats(runtime: Runtime, request: v1.ListContainerStatsRequest, _call: Call) -> bytes:
    """Figures of all running containers that match the filter."""
    return await asyncio.to_thread(_serialised, runtime, _select(runtime, request.filter))


async def stream_container_stats(
    runtime: Runtime, request: v1.StreamContainerStatsRequest, _call: Call
) -> AsyncIterator[bytes]:
    """The same in portions. The items are framed alike: they are field 1 of both responses."""
    for portion in portions(_select(runtime, request.filter)):
        yield await asyncio.to_thread(_serialised, runtime, portion)


def _serialised(runtime: Runtime, containers: Sequence[Container]) -> bytes:
    return read_stats(runtime, containers).SerializeToString()


def _select(runtime: Runtime, wanted: v1.ContainerStatsFilter) -> list[Container]:
    return [
        container
        for container in runtime.index.visible_containers()
        if container.status.phase == "running"
        and (not wanted.id or container.id.startswith(wanted.id))
        and (not wanted.pod_sandbox_id or container.sandbox.id.startswith(wanted.pod_sandbox_id))
        and (not wanted.label_selector or matches_labels(container.config.labels, wanted.label_selector))
    ]
