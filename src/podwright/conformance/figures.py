"""Limits and figures: what is set, changed and measured."""

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, optional, same
from podwright.cri import v1

_BUSY = ("sh", "-c", "while true; do :; done")


def _limited(bench: Bench, *command: str) -> str:
    config = bench.container_config(*command)
    config.linux.resources.MergeFrom(
        v1.LinuxContainerResources(cpu_period=100_000, cpu_quota=20_000, cpu_shares=512, memory_limit_in_bytes=64 << 20)
    )
    container = bench.cri.create_container(bench.pod(), config, sandbox_config=bench.pod_config()).container_id
    bench.cri.start_container(container)
    return container


@check("kubelet: in-place resize reads ContainerStatus.resources back")
def limits_are_shown_and_changed(bench: Bench) -> None:
    """ContainerStatus shows the limits, and UpdateContainerResources changes those it names."""
    container = _limited(bench)
    found = bench.status(container).resources.linux
    same((found.cpu_quota, found.memory_limit_in_bytes), (20_000, 64 << 20), "quota and memory limit")
    bench.cri.update_container_resources(container, linux=v1.LinuxContainerResources(memory_limit_in_bytes=96 << 20))
    found = bench.status(container).resources.linux
    same((found.cpu_quota, found.memory_limit_in_bytes), (20_000, 96 << 20), "quota and memory limit afterwards")


@check("kubelet: /stats/summary, eviction; attributes must be set")
def figures_of_containers(bench: Bench) -> None:
    """ContainerStats has attributes, CPU time that grows, memory and the writable layer."""
    container = _limited(bench, *_BUSY)

    def used() -> int:
        return bench.cri.container_stats(container).stats.cpu.usage_core_nano_seconds.value

    bench.wait("there is CPU time", lambda: used() > 0)
    before = used()
    bench.wait("CPU time grows", lambda: used() > before)
    stats = bench.cri.container_stats(container).stats
    same(stats.attributes.id, container, "attributes.id")
    expect(stats.memory.working_set_bytes.value > 0, "working_set_bytes is 0")
    expect(stats.writable_layer.fs_id.mountpoint, "the writable layer has no file system")
    listed = bench.cri.list_container_stats(v1.ContainerStatsFilter(id=container)).stats
    same([one.attributes.id for one in listed], [container], "ListContainerStats for the id")


@check("kubelet with PodAndContainerStatsFromCRI; UNIMPLEMENTED falls back to containers")
def figures_of_pods(bench: Bench) -> None:
    """ListPodSandboxStats has CPU, memory, network and processes of a pod, and its containers."""
    container = _limited(bench, *_BUSY)
    pod = bench.cri.list_containers(v1.ContainerFilter(id=container)).containers[0].pod_sandbox_id
    with optional():
        (stats,) = bench.cri.list_pod_sandbox_stats(v1.PodSandboxStatsFilter(id=pod)).stats
    bench.wait(
        "there is CPU time",
        lambda: bench.cri.pod_sandbox_stats(pod).stats.linux.cpu.usage_core_nano_seconds.value > 0,
    )
    same(stats.attributes.id, pod, "attributes.id")
    expect(stats.linux.memory.working_set_bytes.value > 0, "working_set_bytes is 0")
    expect(stats.linux.network.default_interface.name, "there is no network interface")
    expect(stats.linux.process.process_count.value >= 1, "process_count is 0")
    same([one.attributes.id for one in stats.linux.containers], [container], "the containers")


@check("kubelet: asked once at its start, and at each scrape")
def metrics(bench: Bench) -> None:
    """All metrics of ListPodSandboxMetrics are described by ListMetricDescriptors, with as many labels."""
    container = _limited(bench)
    with optional():
        described = {one.name: one for one in bench.cri.list_metric_descriptors().descriptors}
    expect(described, "there are no descriptors")
    found = [
        metric
        for pod in bench.cri.list_pod_sandbox_metrics().pod_metrics
        for one in pod.container_metrics
        if one.container_id == container
        for metric in one.metrics
    ]
    expect(found, "the container has no metrics")
    for metric in found:
        expect(metric.name in described, f"{metric.name} is not described")
        same(len(metric.label_values), len(described[metric.name].label_keys), f"the labels of {metric.name}")


@check("KEP-3386: Evented PLEG")
def events(bench: Bench) -> None:
    """GetContainerEvents tells of a container's life in order, with the status of its pod."""
    wanted = [v1.CONTAINER_CREATED_EVENT, v1.CONTAINER_STARTED_EVENT, v1.CONTAINER_STOPPED_EVENT]
    with optional():
        stream = bench.cri.get_container_events(deadline=60)
        pod = bench.pod()
        container = bench.start(pod, "true")
        seen = []
        for event in stream:
            if event.container_id != container:
                continue
            seen.append(event.container_event_type)
            expect(event.HasField("pod_sandbox_status"), "an event has no status of its pod")
            same(event.pod_sandbox_status.id, pod, "the pod of an event")
            expect(event.created_at > 0, "an event has no time")
            if len(seen) == len(wanted):
                break
    same(seen, wanted, "the events")
