"""Names, texts and labels of the metrics that kubelets pass on as their cAdvisor endpoint's.

The names are cAdvisor's (lib/metrics/prometheus.go), in those groups that a kubelet turns on, and huge pages; left out
are those that cAdvisor itself has no figures for in a container: load averages, health, and what only the block
layer's old schedulers counted.
"""

from collections.abc import Iterator
from typing import NamedTuple

from podwright.cri import v1

LABELS = ("container", "id", "image", "name", "namespace", "pod")
"""Of all metrics: as a kubelet's cAdvisor has them. `id` is the cgroup, `name` the container's id; both, and those of
the container, are empty or the pod's for a whole pod.
"""


class Descriptor(NamedTuple):
    """One metric."""

    name: str
    help: str
    kind: v1.MetricType
    labels: tuple[str, ...] = ()
    """Besides LABELS."""


_COUNTER, _GAUGE = v1.COUNTER, v1.GAUGE
_DEVICE, _INTERFACE, _PAGE_SIZE = ("device",), ("interface",), ("pagesize",)

_ALWAYS = (
    Descriptor("container_last_seen", "When the container was last seen to run, in seconds since the epoch", _GAUGE),
    Descriptor("container_start_time_seconds", "When the container was started, in seconds since the epoch", _GAUGE),
    # CPU
    Descriptor("container_cpu_usage_seconds_total", "CPU time used, in seconds", _COUNTER, ("cpu",)),
    Descriptor("container_cpu_user_seconds_total", "CPU time used in user mode, in seconds", _COUNTER),
    Descriptor("container_cpu_system_seconds_total", "CPU time used in kernel mode, in seconds", _COUNTER),
    Descriptor("container_cpu_cfs_periods_total", "Enforcement periods of the CPU quota that have passed", _COUNTER),
    Descriptor("container_cpu_cfs_throttled_periods_total", "Periods in which the quota was used up", _COUNTER),
    Descriptor("container_cpu_cfs_throttled_seconds_total", "Time spent waiting for quota, in seconds", _COUNTER),
    Descriptor("container_spec_cpu_period", "Enforcement period of the CPU quota, in microseconds", _GAUGE),
    Descriptor("container_spec_cpu_quota", "CPU quota in a period, in microseconds; absent without one", _GAUGE),
    Descriptor("container_spec_cpu_shares", "Share of CPU time where it is scarce", _GAUGE),
    # memory
    Descriptor("container_memory_usage_bytes", "Memory in use, page cache included", _GAUGE),
    Descriptor("container_memory_working_set_bytes", "Memory in use without inactive page cache", _GAUGE),
    Descriptor("container_memory_max_usage_bytes", "Most memory that was in use at one time", _GAUGE),
    Descriptor("container_memory_rss", "Anonymous memory", _GAUGE),
    Descriptor("container_memory_cache", "Page cache", _GAUGE),
    Descriptor("container_memory_mapped_file", "Memory of mapped files", _GAUGE),
    Descriptor("container_memory_kernel_usage", "Memory that the kernel uses for the container", _GAUGE),
    Descriptor("container_memory_swap", "Swap in use", _GAUGE),
    Descriptor("container_memory_total_active_file_bytes", "Page cache in active use", _GAUGE),
    Descriptor("container_memory_total_inactive_file_bytes", "Page cache that could be dropped", _GAUGE),
    Descriptor("container_memory_file_dirty_bytes", "Page cache that waits to be written", _GAUGE),
    Descriptor("container_memory_file_writeback_bytes", "Page cache that is being written", _GAUGE),
    Descriptor("container_memory_failcnt", "How often the memory limit was hit", _COUNTER),
    Descriptor("container_memory_failures_total", "Page faults", _COUNTER, ("failure_type", "scope")),
    Descriptor("container_oom_events_total", "Processes killed for lack of memory", _COUNTER),
    Descriptor("container_spec_memory_limit_bytes", "Memory limit; 0 for none", _GAUGE),
    Descriptor("container_spec_memory_swap_limit_bytes", "Swap limit; 0 for none", _GAUGE),
    Descriptor("container_spec_memory_reservation_limit_bytes", "Memory that is kept for the container", _GAUGE),
    # pressure
    Descriptor("container_pressure_cpu_waiting_seconds_total", "Time that some waited for a CPU", _COUNTER),
    Descriptor("container_pressure_cpu_stalled_seconds_total", "Time that all waited for a CPU", _COUNTER),
    Descriptor("container_pressure_memory_waiting_seconds_total", "Time that some waited for memory", _COUNTER),
    Descriptor("container_pressure_memory_stalled_seconds_total", "Time that all waited for memory", _COUNTER),
    Descriptor("container_pressure_io_waiting_seconds_total", "Time that some waited for I/O", _COUNTER),
    Descriptor("container_pressure_io_stalled_seconds_total", "Time that all waited for I/O", _COUNTER),
    # disk
    Descriptor("container_fs_usage_bytes", "Disk that the container has written", _GAUGE, _DEVICE),
    Descriptor("container_fs_limit_bytes", "Size of the file system that it is on", _GAUGE, _DEVICE),
    Descriptor("container_fs_inodes_total", "Inodes of that file system", _GAUGE, _DEVICE),
    Descriptor("container_fs_inodes_free", "Free inodes of that file system", _GAUGE, _DEVICE),
    Descriptor("container_fs_reads_bytes_total", "Bytes read from the device", _COUNTER, _DEVICE),
    Descriptor("container_fs_reads_total", "Reads from the device", _COUNTER, _DEVICE),
    Descriptor("container_fs_writes_bytes_total", "Bytes written to the device", _COUNTER, _DEVICE),
    Descriptor("container_fs_writes_total", "Writes to the device", _COUNTER, _DEVICE),
    Descriptor(
        "container_blkio_device_usage_total",
        "Bytes moved from and to the device",
        _COUNTER,
        ("device", "major", "minor", "operation"),
    ),
    Descriptor("container_hugetlb_usage_bytes", "Huge pages in use", _GAUGE, _PAGE_SIZE),
    Descriptor("container_hugetlb_max_usage_bytes", "Most huge pages in use at one time", _GAUGE, _PAGE_SIZE),
    # network, of whole pods
    Descriptor("container_network_receive_bytes_total", "Bytes received", _COUNTER, _INTERFACE),
    Descriptor("container_network_receive_packets_total", "Packets received", _COUNTER, _INTERFACE),
    Descriptor("container_network_receive_packets_dropped_total", "Received packets dropped", _COUNTER, _INTERFACE),
    Descriptor("container_network_receive_errors_total", "Errors while receiving", _COUNTER, _INTERFACE),
    Descriptor("container_network_transmit_bytes_total", "Bytes sent", _COUNTER, _INTERFACE),
    Descriptor("container_network_transmit_packets_total", "Packets sent", _COUNTER, _INTERFACE),
    Descriptor("container_network_transmit_packets_dropped_total", "Packets to be sent dropped", _COUNTER, _INTERFACE),
    Descriptor("container_network_transmit_errors_total", "Errors while sending", _COUNTER, _INTERFACE),
    # processes
    Descriptor("container_processes", "Processes", _GAUGE),
    Descriptor("container_threads", "Threads", _GAUGE),
    Descriptor("container_threads_max", "How many threads there may be; 0 for any number", _GAUGE),
    Descriptor("container_file_descriptors", "Open files of all processes", _GAUGE),
    Descriptor("container_sockets", "Open sockets of all processes", _GAUGE),
    Descriptor("container_ulimits_soft", "Soft limits of the first process; absent if unlimited", _GAUGE, ("ulimit",)),
)

_V2_ONLY = (
    Descriptor("container_cpu_cfs_burst_periods_total", "Periods in which saved quota was used", _COUNTER),
    Descriptor("container_cpu_cfs_burst_seconds_total", "CPU time used of saved quota, in seconds", _COUNTER),
    Descriptor("container_memory_events_high_total", "How often memory.high was exceeded", _COUNTER),
    Descriptor("container_memory_events_max_total", "How often memory.max was hit", _COUNTER),
    Descriptor("container_memory_pgscan_total", "Pages looked at for reclaim", _COUNTER),
    Descriptor("container_memory_pgsteal_total", "Pages reclaimed", _COUNTER),
    Descriptor("container_memory_workingset_refault_file_total", "File pages read again after reclaim", _COUNTER),
    Descriptor("container_memory_workingset_refault_anon_total", "Anonymous pages read again after reclaim", _COUNTER),
)


def descriptors(*, v2: bool) -> Iterator[Descriptor]:
    """All metrics of this host; the list does not change while it is up."""
    yield from _ALWAYS
    if v2:
        yield from _V2_ONLY


KINDS = {descriptor.name: descriptor.kind for descriptor in descriptors(v2=True)}
"""Counter or gauge, by name."""
