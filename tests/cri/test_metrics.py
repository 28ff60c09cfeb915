"""ListMetricDescriptors and ListPodSandboxMetrics: names that kubelets and critest know, the kernel's values."""

import os
import time
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.kernel import cgroups
from support.cri import Pods, secured, until

pytestmark = pytest.mark.root

HIERARCHIES = cgroups.detect()
V2 = HIERARCHIES.mode == "v2"

CPU = "cfs_periods cfs_throttled_periods cfs_throttled_seconds system_seconds usage_seconds user_seconds"
DISK_IO = "blkio_device_usage fs_reads_bytes fs_reads fs_writes_bytes fs_writes"
MEMORY = "cache failcnt kernel_usage mapped_file max_usage_bytes rss swap usage_bytes working_set_bytes"
NETWORK = "bytes errors packets packets_dropped"
PRESSURE = "cpu io memory"
OTHERS = """
    file_descriptors fs_inodes_free fs_inodes_total fs_limit_bytes fs_usage_bytes last_seen processes sockets
    spec_cpu_period spec_cpu_quota spec_cpu_shares spec_memory_limit_bytes spec_memory_reservation_limit_bytes
    spec_memory_swap_limit_bytes start_time_seconds threads threads_max ulimits_soft
"""
HUGE_PAGES = {"container_hugetlb_max_usage_bytes", "container_hugetlb_usage_bytes"}
EXPECTED_BY_CRITEST = {
    *(f"container_cpu_{name}_total" for name in CPU.split()),
    *(f"container_{name}_total" for name in (*DISK_IO.split(), "oom_events", "memory_failures")),
    *(f"container_memory_{name}" for name in MEMORY.split()),
    *(f"container_network_{way}_{name}_total" for way in ("receive", "transmit") for name in NETWORK.split()),
    *(f"container_pressure_{what}_{how}_seconds_total" for what in PRESSURE.split() for how in ("stalled", "waiting")),
    *(f"container_{name}" for name in OTHERS.split()),
    *HUGE_PAGES,
}
DEPENDS_ON_THE_HOST = {f"container_{name}_total" for name in DISK_IO.split()} | HUGE_PAGES


def samples(metrics: list[v1.Metric]) -> dict[tuple[str, ...], int]:
    """Values by name and labels that are not those of all metrics."""
    return {(metric.name, *metric.label_values[6:]): metric.value.value for metric in metrics}


def read(controller: str, cgroup: str, name: str) -> str:
    return Path(HIERARCHIES.directory(controller, cgroup), name).read_text().strip()


def test_the_names(pods: Pods) -> None:
    descriptors = {described.name: described for described in pods.cri.list_metric_descriptors().descriptors}
    assert len(EXPECTED_BY_CRITEST) == 56
    assert descriptors.keys() > EXPECTED_BY_CRITEST
    for described in descriptors.values():
        assert described.help
        assert described.label_keys[:6] == ["container", "id", "image", "name", "namespace", "pod"]


def test_all_that_is_described_is_there(pods: Pods) -> None:
    sandbox = pods.run_sandbox(pods.networked_config("measured"))
    limits = v1.LinuxContainerResources(
        cpu_period=50000, cpu_quota=20000, cpu_shares=512, memory_limit_in_bytes=64 << 20
    )
    script = "dd if=/dev/zero of=/file bs=1M count=4; sync; nc -lp 99 & echo done; while :; do :; done"
    container = pods.start(sandbox, script, name="busy", linux=v1.LinuxContainerConfig(resources=limits))
    pods.says(container, "done")
    cgroup = pods.info(container)["cgroup"]
    (pod,) = pods.cri.list_pod_sandbox_metrics().pod_metrics
    (own,) = pod.container_metrics
    assert (pod.pod_sandbox_id, own.container_id) == (sandbox, container)

    descriptors = {described.name: described for described in pods.cri.list_metric_descriptors().descriptors}
    found = {metric.name for metric in (*pod.metrics, *own.metrics)}
    assert descriptors.keys() - DEPENDS_ON_THE_HOST <= found <= descriptors.keys()
    for metric in (*pod.metrics, *own.metrics):
        assert len(metric.label_values) == len(descriptors[metric.name].label_keys)
        assert abs(metric.timestamp - time.time_ns()) < 10 * 10**9
    for metric in own.metrics:
        assert metric.label_values[:6] == ["busy", cgroup, "test.local/busybox:1", container, "test", "measured"]
    keys = [(metric.name, *metric.label_values) for metric in (*pod.metrics, *own.metrics)]
    assert len(keys) == len(set(keys))

    values = samples(list(own.metrics))
    assert values["container_spec_cpu_period",] == 50000
    assert values["container_spec_cpu_quota",] == 20000
    assert values["container_spec_cpu_shares",] == 512
    assert values["container_spec_memory_limit_bytes",] == 64 << 20
    assert values["container_processes",] == len(read("memory", cgroup, "cgroup.procs").splitlines())
    assert values["container_threads",] == int(read("pids", cgroup, "pids.current"))
    assert values["container_sockets",] >= 1
    limits_file = (pods.proc(container) / "limits").read_text()
    (soft,) = [line.split()[3] for line in limits_file.splitlines() if line.startswith("Max open files")]
    assert values["container_ulimits_soft", "max_open_files"] == int(soft)
    fds = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in HIERARCHIES.processes(cgroup))
    assert values["container_file_descriptors",] == fds
    assert abs(values["container_start_time_seconds",] - time.time()) < 60
    assert values["container_memory_cache",] >= 4 << 20
    types = {metric.name: metric.metric_type for metric in own.metrics}
    assert types["container_threads"] == v1.GAUGE
    assert types["container_cpu_usage_seconds_total"] == v1.COUNTER

    traffic = samples(list(pod.metrics))
    assert traffic["container_network_transmit_bytes_total", "eth0"] >= 0
    streamed = [item for portion in pods.cri.stream_pod_sandbox_metrics() for item in portion.pod_sandbox_metrics]
    assert [item.pod_sandbox_id for item in streamed] == [sandbox]


def test_counters_are_the_kernels(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    limits = v1.LinuxContainerResources(cpu_period=20000, cpu_quota=15000)
    linux = secured()
    linux.resources.CopyFrom(limits)
    container = pods.start(sandbox, "while :; do :; done", linux=linux)
    cgroup = pods.info(container)["cgroup"]

    def kernel() -> list[int]:
        cpu = dict(line.split() for line in read("cpu", cgroup, "cpu.stat").splitlines())
        if V2:
            throttled = int(cpu["throttled_usec"]) // 10**6
            used = int(cpu["usage_usec"]) // 10**6
        else:
            throttled = int(cpu["throttled_time"]) // 10**9
            used = int(read("cpuacct", cgroup, "cpuacct.usage")) // 10**9
        faults = dict(line.split() for line in read("memory", cgroup, "memory.stat").splitlines())
        return [int(cpu["nr_periods"]), int(cpu["nr_throttled"]), throttled, used, int(faults["pgfault"])]

    def told() -> list[int]:
        (pod,) = pods.cri.list_pod_sandbox_metrics().pod_metrics
        values = samples(list(pod.container_metrics[0].metrics))
        return [
            values["container_cpu_cfs_periods_total",],
            values["container_cpu_cfs_throttled_periods_total",],
            values["container_cpu_cfs_throttled_seconds_total",],
            values["container_cpu_usage_seconds_total", "total"],
            values["container_memory_failures_total", "pgfault", "container"],
        ]

    before = until(kernel, lambda counts: counts[3] >= 1)
    figures, after = told(), kernel()
    assert all(low <= figure <= high for low, figure, high in zip(before, figures, after, strict=True))
    assert before[0] > 0


def test_processes_killed_for_lack_of_memory(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    linux = secured()
    linux.resources.CopyFrom(v1.LinuxContainerResources(memory_limit_in_bytes=16 << 20))
    script = "(head -c 64m /dev/zero | tail >/dev/null); echo survived; sleep 1000"
    container = pods.start(sandbox, script, linux=linux)
    pods.says(container, "survived", seconds=90)  # the kernel may try to do without the program's own pages first
    (pod,) = pods.cri.list_pod_sandbox_metrics().pod_metrics
    values = samples(list(pod.container_metrics[0].metrics))
    assert values["container_oom_events_total",] >= 1
    assert values["container_memory_max_usage_bytes",] >= 15 << 20
