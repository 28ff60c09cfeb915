"""PodSandboxStats, ListPodSandboxStats and StreamPodSandboxStats."""

import asyncio
from collections.abc import AsyncIterator

from podwright.core.runtime import Runtime
from podwright.core.sandbox_stats import read_stats
from podwright.cri import v1
from podwright.errors import FailedPrecondition
from podwright.server.dispatch import Call
from podwright.server.portions import portions
from podwright.state.index import matches_labels
from podwright.state.records import Sandbox


async def pod_sandbox_stats(
    runtime: Runtime, request: v1.PodSandboxStatsRequest, _call: Call
) -> v1.PodSandboxStatsResponse:
    """Figures of one ready sandbox and of its running containers."""
    sandbox = runtime.index.sandbox(request.pod_sandbox_id)
    if sandbox.status.phase != "ready":
        raise FailedPrecondition(f"sandbox {sandbox.title} is {sandbox.status.phase}: only a ready one has figures")
    (stats,) = await asyncio.to_thread(read_stats, runtime, [sandbox])
    return v1.PodSandboxStatsResponse(stats=stats)


async def list_pod_sandbox_stats(
    runtime: Runtime, request: v1.ListPodSandboxStatsRequest, _call: Call
) -> v1.ListPodSandboxStatsResponse:
    """Figures of all ready sandboxes that match the filter."""
    stats = await asyncio.to_thread(read_stats, runtime, _select(runtime, request.filter))
    return v1.ListPodSandboxStatsResponse(stats=stats)


async def stream_pod_sandbox_stats(
    runtime: Runtime, request: v1.StreamPodSandboxStatsRequest, _call: Call
) -> AsyncIterator[v1.StreamPodSandboxStatsResponse]:
    """The same in portions."""
    for portion in portions(_select(runtime, request.filter)):
        stats = await asyncio.to_thread(read_stats, runtime, portion)
        yield v1.StreamPodSandboxStatsResponse(pod_sandbox_stats=stats)


def _select(runtime: Runtime, wanted: v1.PodSandboxStatsFilter) -> list[Sandbox]:
    return [
        sandbox
        for sandbox in runtime.index.visible_sandboxes()
        if sandbox.status.phase == "ready"
        and (not wanted.id or sandbox.id.startswith(wanted.id))
        and (not wanted.label_selector or matches_labels(sandbox.config.labels, wanted.label_selector))
    ]
