"""ListMetricDescriptors, ListPodSandboxMetrics and StreamPodSandboxMetrics."""

import asyncio
from collections.abc import AsyncIterator

from podwright.core.runtime import Runtime
from podwright.core.sandbox_metrics import metric_descriptors, read_metrics
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.server.portions import portions
from podwright.state.records import Sandbox


async def list_metric_descriptors(
    runtime: Runtime, _request: v1.ListMetricDescriptorsRequest, _call: Call
) -> v1.ListMetricDescriptorsResponse:
    """Names, texts and labels of the metrics. Kubelets ask once, at their start."""
    return v1.ListMetricDescriptorsResponse(descriptors=metric_descriptors(runtime))


async def list_pod_sandbox_metrics(
    runtime: Runtime, _request: v1.ListPodSandboxMetricsRequest, _call: Call
) -> v1.ListPodSandboxMetricsResponse:
    """Samples of all ready sandboxes and their running containers."""
    metrics = await asyncio.to_thread(read_metrics, runtime, _ready(runtime))
    return v1.ListPodSandboxMetricsResponse(pod_metrics=metrics)


async def stream_pod_sandbox_metrics(
    runtime: Runtime, _request: v1.StreamPodSandboxMetricsRequest, _call: Call
) -> AsyncIterator[v1.StreamPodSandboxMetricsResponse]:
    """The same in portions."""
    for portion in portions(_ready(runtime)):
        metrics = await asyncio.to_thread(read_metrics, runtime, portion)
        yield v1.StreamPodSandboxMetricsResponse(pod_sandbox_metrics=metrics)


def _ready(runtime: Runtime) -> list[Sandbox]:
    return [sandbox for sandbox in runtime.index.visible_sandboxes() if sandbox.status.phase == "ready"]
