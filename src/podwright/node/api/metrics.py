"""/metrics, /metrics/resource and /metrics/cadvisor, in Prometheus' text format.

/metrics/resource is what metrics-server reads for `kubectl top`; names and labels are the kubelet's. /metrics/cadvisor
is what the runtime measures of containers, by its own descriptors, as kubelets show it with PodAndContainerStatsFromCRI
(pkg/kubelet/metrics/collectors/cri_metrics.go).
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from podwright.cri import v1
from podwright.errors import PodwrightError
from podwright.node.agent import Agent
from podwright.node.api.stats import PodUsage, node_cpu_ns, node_memory, usages
from podwright.node.context import Node

KIND: Final = "text/plain; version=0.0.4; charset=utf-8"


async def resource(node: Node) -> bytes:
    """CPU and memory of the node, the pods and the containers."""
    try:
        known, failed = await usages(node), 0
    except PodwrightError:
        known, failed = [], 1
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(list(_resource(known, failed))))
    return generate_latest(registry)


async def of_containers(node: Node) -> bytes:
    """All that the runtime measures. Raises what it answers: Unimplemented where it measures nothing."""
    described = {item.name: item for item in (await node.cri.list_metric_descriptors()).descriptors}
    families: dict[str, Metric] = {}
    for pod in (await node.cri.list_pod_sandbox_metrics()).pod_metrics:
        for measured in [pod.metrics, *(container.metrics for container in pod.container_metrics)]:
            for item in measured:
                if item.name in described:
                    family = families.setdefault(item.name, _family(item, described[item.name].help))
                    labels = dict(zip(described[item.name].label_keys, item.label_values, strict=False))
                    family.add_sample(item.name, labels, item.value.value, timestamp=_at(item.timestamp))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(list(families.values())))
    return generate_latest(registry)


def _family(metric: v1.Metric, text: str) -> Metric:
    if metric.metric_type == v1.GAUGE:
        return Metric(metric.name, text, "gauge")
    if metric.name.endswith("_total"):  # the library gives a counter's family this ending
        return Metric(metric.name.removesuffix("_total"), text, "counter")
    return Metric(metric.name, text, "unknown")


def own(node: Node, agent: Agent) -> bytes:
    """Of the node agent itself."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(_Fixed(list(_own(node, agent))))
    return generate_latest(registry)


class _Fixed(Collector):
    """Metrics that are known already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client.registry.Collector."""
        return iter(self._metrics)


def _resource(known: list[PodUsage], failed: int) -> Iterator[Metric]:
    of_container, of_pod = ("container", "namespace", "pod"), ("namespace", "pod")
    cpu = CounterMetricFamily("container_cpu_usage_seconds", "CPU time of the container", labels=of_container)
    memory = GaugeMetricFamily(
        "container_memory_working_set_bytes", "Working set of the container", labels=of_container
    )
    start = GaugeMetricFamily("container_start_time_seconds", "Start of the container", labels=of_container)
    pod_cpu = CounterMetricFamily("pod_cpu_usage_seconds", "CPU time of the pod", labels=of_pod)
    pod_memory = GaugeMetricFamily("pod_memory_working_set_bytes", "Working set of the pod", labels=of_pod)
    for usage in known:
        pod = (usage.seen.namespace, usage.seen.name)
        for name, stats in usage.containers.items():
            cpu.add_metric(
                (name, *pod), stats.cpu.usage_core_nano_seconds.value / 1e9, timestamp=_at(stats.cpu.timestamp)
            )
            memory.add_metric((name, *pod), stats.memory.working_set_bytes.value, timestamp=_at(stats.memory.timestamp))
            found = usage.seen.current(name)
            if found is not None:
                start.add_metric((name, *pod), found.status.started_at / 1e9)
        pod_cpu.add_metric(pod, usage.cpu_ns / 1e9)
        pod_memory.add_metric(pod, usage.memory)
    yield from (cpu, memory, start, pod_cpu, pod_memory)
    node_cpu = CounterMetricFamily("node_cpu_usage_seconds", "CPU time of the node")
    node_cpu.add_metric((), node_cpu_ns() / 1e9)
    node_working_set = GaugeMetricFamily("node_memory_working_set_bytes", "Working set of the node")
    node_working_set.add_metric((), node_memory())
    error = GaugeMetricFamily(
        "resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise"
    )
    error.add_metric((), failed)
    yield from (node_cpu, node_working_set, error)


def _at(time_ns: int) -> float | None:
    return time_ns / 1e9 if time_ns else None


def _own(node: Node, agent: Agent) -> Iterator[Metric]:
    name = GaugeMetricFamily("kubelet_node_name", "The node's name. The count is always 1.", labels=("node",))
    name.add_metric((node.name,), 1)
    pods = GaugeMetricFamily("kubelet_running_pods", "Number of pods that have a running pod sandbox")
    pods.add_metric((), sum(seen.ready for seen in node.observed.pods.values()))
    states = {"created": 0, "exited": 0, "running": 0, "unknown": 0}
    names = ("created", "running", "exited", "unknown")
    for seen in node.observed.pods.values():
        for found in seen.containers:
            states[names[found.status.state]] += 1
    containers = GaugeMetricFamily(
        "kubelet_running_containers", "Number of containers by state", labels=("container_state",)
    )
    for state, count in states.items():
        containers.add_metric((state,), count)
    desired = GaugeMetricFamily(
        "kubelet_desired_pods", "The number of pods the kubelet is being instructed to run", labels=("static",)
    )
    for static in (True, False):
        count = sum((worker.pod.source == "file") == static for worker in agent.workers.values())
        desired.add_metric((str(static).lower(),), count)
    yield from (name, pods, containers, desired)
