"""ListMetricDescriptors and ListPodSandboxMetrics: what a kubelet with PodAndContainerStatsFromCRI passes on as the
metrics of its cAdvisor endpoint.

A pod's own samples are those of its network and, where it has one, its cgroup; the others are its containers'.
"""

import os
from collections.abc import Iterable, Iterator, Sequence

from podwright.clock import now_ns
from podwright.core.container_stats import written
from podwright.core.runtime import Runtime
from podwright.core.sandbox_stats import own_cgroup, read_traffic, running
from podwright.cri import v1
from podwright.state.records import Container, Sandbox
from podwright.stats import cgroup_metrics, process_metrics
from podwright.stats.cgroup_metrics import Value, device_name
from podwright.stats.metric_descriptors import KINDS, LABELS, descriptors
from podwright.stats.network import Interface
from podwright.stats.trees import TreeUsage


def metric_descriptors(runtime: Runtime) -> list[v1.MetricDescriptor]:
    """All metrics that there can be on this host."""
    return [
        v1.MetricDescriptor(name=described.name, help=described.help, label_keys=(*LABELS, *described.labels))
        for described in descriptors(v2=runtime.host.cgroups.mode == "v2")
    ]


def read_metrics(runtime: Runtime, sandboxes: Sequence[Sandbox]) -> list[v1.PodSandboxMetrics]:
    """Metrics of ready sandboxes and their running containers. Blocking."""
    traffic = read_traffic(runtime, sandboxes)
    by_sandbox = {sandbox.id: running(sandbox) for sandbox in sandboxes}
    usages = written(runtime, [container for containers in by_sandbox.values() for container in containers])
    disk = _Disk(runtime.paths.containers)
    return [
        v1.PodSandboxMetrics(
            pod_sandbox_id=sandbox.id,
            metrics=_of_sandbox(runtime, sandbox, traffic.get(sandbox.id, [])),
            container_metrics=[
                v1.ContainerMetrics(
                    container_id=container.id, metrics=_of_container(runtime, container, disk, usages.get(container.id))
                )
                for container in by_sandbox[sandbox.id]
            ],
        )
        for sandbox in sandboxes
    ]


def _of_sandbox(runtime: Runtime, sandbox: Sandbox, traffic: Iterable[Interface]) -> list[v1.Metric]:
    metadata, cgroup = sandbox.config.metadata, own_cgroup(runtime, sandbox)
    labels = ("", cgroup or f"/{sandbox.id}", "", "", metadata.namespace, metadata.name)
    values = [value for interface in traffic for value in _of_interface(interface)]
    if cgroup:
        values += cgroup_metrics.read(runtime.host.cgroups, cgroup)
    return _metrics(values, labels)


def _of_interface(interface: Interface) -> Iterator[Value]:
    counters = {
        "receive_bytes": interface.rx_bytes,
        "receive_packets": interface.rx_packets,
        "receive_packets_dropped": interface.rx_dropped,
        "receive_errors": interface.rx_errors,
        "transmit_bytes": interface.tx_bytes,
        "transmit_packets": interface.tx_packets,
        "transmit_packets_dropped": interface.tx_dropped,
        "transmit_errors": interface.tx_errors,
    }
    for name, count in counters.items():
        yield Value(f"container_network_{name}_total", count, (interface.name,))


def _of_container(runtime: Runtime, container: Container, disk: "_Disk", usage: TreeUsage | None) -> list[v1.Metric]:
    pod, config, status = container.sandbox.config.metadata, container.config, container.status
    limits = v1.LinuxContainerResources.FromString(status.resources)
    image = config.image.user_specified_image or config.image.image
    labels = (config.metadata.name, status.cgroup, image, container.id, pod.namespace, pod.name)
    values = [
        Value("container_last_seen", now_ns() // 10**9),
        Value("container_start_time_seconds", status.started_at // 10**9),
        *cgroup_metrics.read(runtime.host.cgroups, status.cgroup, limits.cpu_shares),
        *disk.values(usage),
    ]
    if status.process is not None:
        values += process_metrics.read(status.process.pid, runtime.host.cgroups.processes(status.cgroup))
    return _metrics(values, labels)


def _metrics(values: Iterable[Value], labels: tuple[str, ...]) -> list[v1.Metric]:
    now = now_ns()
    return [
        v1.Metric(
            name=name,
            timestamp=now,
            metric_type=KINDS[name],
            label_values=(*labels, *own),
            value=v1.UInt64Value(value=value),
        )
        for name, value, own in values
    ]


class _Disk:
    """The file system that containers write to."""

    def __init__(self, directory: str) -> None:
        found = os.statvfs(directory)
        self._size, self._inodes, self._free = found.f_blocks * found.f_frsize, found.f_files, found.f_ffree
        device = os.stat(directory).st_dev
        self._device = device_name(str(os.major(device)), str(os.minor(device)))

    def values(self, usage: TreeUsage | None) -> Iterator[Value]:
        """What a container has of it."""
        labels = (self._device,)
        if usage is not None:
            yield Value("container_fs_usage_bytes", usage.size, labels)
        yield Value("container_fs_limit_bytes", self._size, labels)
        yield Value("container_fs_inodes_total", self._inodes, labels)
        yield Value("container_fs_inodes_free", self._free, labels)
