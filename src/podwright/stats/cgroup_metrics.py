"""Metrics of one cgroup, out of all files that have something to tell. Asked for once a scrape, so nothing is kept
open.

Yields name, value and the labels of metric_descriptors.py; what this kernel does not count is not there.
"""

import functools
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from podwright.kernel.cgroups import Cgroups
from podwright.stats.cgroup_figures import fields, pressure

_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_UNLIMITED = 1 << 62
_V1_BLKIO = re.compile(r"(\d+):(\d+) (Read|Write|Sync|Async|Discard) (\d+)")
_V2_IO = re.compile(r"(\d+):(\d+)((?: \w+=\d+)+)")


class Value(NamedTuple):
    """One sample."""

    name: str
    value: int
    labels: tuple[str, ...] = ()


def read(cgroups: Cgroups, path: str, shares: int = 0) -> Iterator[Value]:
    """All metrics of the cgroup and those below it. Blocking. Nothing, or a part, if it has gone meanwhile.

    `shares` of CPU time are what was asked for, if known: v2 has only a weight, from which they do not come out again.
    """
    if cgroups.mode == "v2":
        directory = f"{cgroups.unified}{path}"
        yield from _cpu_v2(directory, shares)
        yield from _memory_v2(directory)
        yield from _io_v2(directory)
        yield from _pids(directory)
        yield from _hugetlb_v2(directory)
    else:
        yield from _cpu_v1(cgroups, path)
        yield from _memory_v1(_directory(cgroups, "memory", path))
        yield from _blkio_v1(_directory(cgroups, "blkio", path))
        yield from _pids(_directory(cgroups, "pids", path))
        yield from _hugetlb_v1(_directory(cgroups, "hugetlb", path))
    if cgroups.unified is not None:
        yield from _pressure(f"{cgroups.unified}{path}")


def _directory(cgroups: Cgroups, controller: str, path: str) -> str:
    root = cgroups.controllers.get(controller)
    return f"{root}{path}" if root else ""


def _text(directory: str, name: str) -> bytes:
    """A file's text; empty if it is not there."""
    try:
        fd = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _number(directory: str, name: str) -> int | None:
    text = _text(directory, name).strip()
    return int(text) if text and text != b"max" else None


def _some(name: str, value: int | None, *labels: str) -> Iterator[Value]:
    if value is not None:
        yield Value(name, value, labels)


def _counted(names: dict[str, bytes], found: dict[bytes, bytes], unit: int = 1) -> Iterator[Value]:
    """Those of the metrics whose field is there, divided by `unit`."""
    for name, field in names.items():
        if field in found:
            yield Value(name, int(found[field]) // unit)


# ---- CPU


def _cpu_v2(directory: str, shares: int) -> Iterator[Value]:
    stat = fields(_text(directory, "cpu.stat"))
    if b"usage_usec" in stat:
        yield Value("container_cpu_usage_seconds_total", int(stat[b"usage_usec"]) // 10**6, ("total",))
    seconds = {
        "container_cpu_user_seconds_total": b"user_usec",
        "container_cpu_system_seconds_total": b"system_usec",
        "container_cpu_cfs_throttled_seconds_total": b"throttled_usec",
        "container_cpu_cfs_burst_seconds_total": b"burst_usec",
    }
    periods = {
        "container_cpu_cfs_periods_total": b"nr_periods",
        "container_cpu_cfs_throttled_periods_total": b"nr_throttled",
        "container_cpu_cfs_burst_periods_total": b"nr_bursts",
    }
    yield from _counted(seconds, stat, 10**6)
    yield from _counted(periods, stat)
    quota, _, period = _text(directory, "cpu.max").partition(b" ")
    if period:
        yield Value("container_spec_cpu_period", int(period))
        if quota != b"max":
            yield Value("container_spec_cpu_quota", int(quota))
    weight = _number(directory, "cpu.weight")
    if weight is not None:  # made of shares by the OCI runtime: 2 to 262144 become 1 to 10000
        yield Value("container_spec_cpu_shares", shares or 2 + (weight - 1) * 262142 // 9999)


def _cpu_v1(cgroups: Cgroups, path: str) -> Iterator[Value]:
    accounting, directory = _directory(cgroups, "cpuacct", path), _directory(cgroups, "cpu", path)
    used = _number(accounting, "cpuacct.usage")
    if used is not None:
        yield Value("container_cpu_usage_seconds_total", used // 10**9, ("total",))
    stat = fields(_text(accounting, "cpuacct.stat"))
    for name, field in (("user", b"user"), ("system", b"system")):
        if field in stat:
            yield Value(f"container_cpu_{name}_seconds_total", int(stat[field]) * _TICK_NS // 10**9)
    stat = fields(_text(directory, "cpu.stat"))
    periods = {
        "container_cpu_cfs_periods_total": b"nr_periods",
        "container_cpu_cfs_throttled_periods_total": b"nr_throttled",
    }
    yield from _counted(periods, stat)
    yield from _counted({"container_cpu_cfs_throttled_seconds_total": b"throttled_time"}, stat, 10**9)
    yield from _some("container_spec_cpu_period", _number(directory, "cpu.cfs_period_us"))
    quota = _number(directory, "cpu.cfs_quota_us")
    if quota is not None and quota > 0:
        yield Value("container_spec_cpu_quota", quota)
    yield from _some("container_spec_cpu_shares", _number(directory, "cpu.shares"))


# ---- memory


def _memory_v2(directory: str) -> Iterator[Value]:
    stat, events = fields(_text(directory, "memory.stat")), fields(_text(directory, "memory.events"))
    usage = _number(directory, "memory.current")
    if usage is None or not stat:
        return
    yield Value("container_memory_usage_bytes", usage)
    yield Value("container_memory_working_set_bytes", max(usage - int(stat[b"inactive_file"]), 0))
    peak = _number(directory, "memory.peak")  # since Linux 5.19; before, no less than what is used now
    yield Value("container_memory_max_usage_bytes", usage if peak is None else peak)
    named = {
        "container_memory_rss": b"anon",
        "container_memory_cache": b"file",
        "container_memory_mapped_file": b"file_mapped",
        "container_memory_total_active_file_bytes": b"active_file",
        "container_memory_total_inactive_file_bytes": b"inactive_file",
        "container_memory_file_dirty_bytes": b"file_dirty",
        "container_memory_file_writeback_bytes": b"file_writeback",
        "container_memory_pgscan_total": b"pgscan",
        "container_memory_pgsteal_total": b"pgsteal",
        "container_memory_workingset_refault_file_total": b"workingset_refault_file",
        "container_memory_workingset_refault_anon_total": b"workingset_refault_anon",
    }
    yield from _counted(named, stat)
    kernel = stat.get(b"kernel")  # since Linux 5.18
    parts = (b"kernel_stack", b"pagetables", b"percpu", b"sock", b"slab")
    yield Value("container_memory_kernel_usage", int(kernel or sum(int(stat.get(part, 0)) for part in parts)))
    yield Value("container_memory_swap", _number(directory, "memory.swap.current") or 0)
    happened = {
        "container_memory_failcnt": b"max",
        "container_memory_events_max_total": b"max",
        "container_memory_events_high_total": b"high",
        "container_oom_events_total": b"oom_kill",
    }
    yield from _counted(happened, events)
    yield from _failures(int(stat[b"pgfault"]), int(stat[b"pgmajfault"]), "container")
    yield from _failures(int(stat[b"pgfault"]), int(stat[b"pgmajfault"]), "hierarchy")
    yield Value("container_spec_memory_limit_bytes", _number(directory, "memory.max") or 0)
    yield Value("container_spec_memory_swap_limit_bytes", _number(directory, "memory.swap.max") or 0)
    yield Value("container_spec_memory_reservation_limit_bytes", _number(directory, "memory.low") or 0)


def _memory_v1(directory: str) -> Iterator[Value]:
    stat = fields(_text(directory, "memory.stat"))
    usage = _number(directory, "memory.usage_in_bytes")
    if usage is None or not stat:
        return
    yield Value("container_memory_usage_bytes", usage)
    yield Value("container_memory_working_set_bytes", max(usage - int(stat[b"total_inactive_file"]), 0))
    yield from _some("container_memory_max_usage_bytes", _number(directory, "memory.max_usage_in_bytes"))
    named = {
        "container_memory_rss": b"total_rss",
        "container_memory_cache": b"total_cache",
        "container_memory_mapped_file": b"total_mapped_file",
        "container_memory_total_active_file_bytes": b"total_active_file",
        "container_memory_total_inactive_file_bytes": b"total_inactive_file",
        "container_memory_file_dirty_bytes": b"total_dirty",
        "container_memory_file_writeback_bytes": b"total_writeback",
    }
    yield from _counted(named, stat)
    yield Value("container_memory_kernel_usage", _number(directory, "memory.kmem.usage_in_bytes") or 0)
    yield Value("container_memory_swap", int(stat.get(b"total_swap", 0)))
    yield from _some("container_memory_failcnt", _number(directory, "memory.failcnt"))
    yield from _failures(int(stat[b"pgfault"]), int(stat[b"pgmajfault"]), "container")
    yield from _failures(int(stat[b"total_pgfault"]), int(stat[b"total_pgmajfault"]), "hierarchy")
    yield from _counted({"container_oom_events_total": b"oom_kill"}, fields(_text(directory, "memory.oom_control")))
    limits = {
        "container_spec_memory_limit_bytes": "memory.limit_in_bytes",
        "container_spec_memory_swap_limit_bytes": "memory.memsw.limit_in_bytes",
        "container_spec_memory_reservation_limit_bytes": "memory.soft_limit_in_bytes",
    }
    for name, file in limits.items():
        limit = _number(directory, file) or 0
        yield Value(name, 0 if limit >= _UNLIMITED else limit)


def _failures(minor: int, major: int, scope: str) -> Iterator[Value]:
    yield Value("container_memory_failures_total", minor, ("pgfault", scope))
    yield Value("container_memory_failures_total", major, ("pgmajfault", scope))


# ---- disks


def _io_v2(directory: str) -> Iterator[Value]:
    for major, minor, text in _V2_IO.findall(_text(directory, "io.stat").decode()):
        counts = {key: int(value) for key, value in (part.split("=") for part in text.split())}
        device = device_name(major, minor)
        yield Value("container_fs_reads_bytes_total", counts.get("rbytes", 0), (device,))
        yield Value("container_fs_reads_total", counts.get("rios", 0), (device,))
        yield Value("container_fs_writes_bytes_total", counts.get("wbytes", 0), (device,))
        yield Value("container_fs_writes_total", counts.get("wios", 0), (device,))
        for operation, key in (("Read", "rbytes"), ("Write", "wbytes"), ("Discard", "dbytes")):
            yield Value("container_blkio_device_usage_total", counts.get(key, 0), (device, major, minor, operation))


def _blkio_v1(directory: str) -> Iterator[Value]:
    moved = _text(directory, "blkio.throttle.io_service_bytes_recursive") or _text(
        directory, "blkio.throttle.io_service_bytes"
    )
    for major, minor, operation, count in _V1_BLKIO.findall(moved.decode()):
        device = device_name(major, minor)
        yield Value("container_blkio_device_usage_total", int(count), (device, major, minor, operation))
        if operation in ("Read", "Write"):
            yield Value(f"container_fs_{operation.lower()}s_bytes_total", int(count), (device,))
    done = _text(directory, "blkio.throttle.io_serviced_recursive") or _text(directory, "blkio.throttle.io_serviced")
    for major, minor, operation, count in _V1_BLKIO.findall(done.decode()):
        if operation in ("Read", "Write"):
            yield Value(f"container_fs_{operation.lower()}s_total", int(count), (device_name(major, minor),))


@functools.lru_cache(maxsize=256)
def device_name(major: str, minor: str) -> str:
    """/dev/vda1, say; the two numbers where they are no block device's."""
    try:
        return "/dev/" + os.path.basename(os.readlink(f"/sys/dev/block/{major}:{minor}"))
    except OSError:
        return f"{major}:{minor}"


# ---- the rest


def _pids(directory: str) -> Iterator[Value]:
    yield from _some("container_threads", _number(directory, "pids.current"))
    if _text(directory, "pids.max"):
        yield Value("container_threads_max", _number(directory, "pids.max") or 0)


def _hugetlb_v2(directory: str) -> Iterator[Value]:
    for size in _page_sizes():
        usage = _number(directory, f"hugetlb.{size}.current")
        yield from _some("container_hugetlb_usage_bytes", usage, size)
        yield from _some("container_hugetlb_max_usage_bytes", usage, size)  # v2 keeps no maximum: no less than this


def _hugetlb_v1(directory: str) -> Iterator[Value]:
    for size in _page_sizes():
        yield from _some("container_hugetlb_usage_bytes", _number(directory, f"hugetlb.{size}.usage_in_bytes"), size)
        most = _number(directory, f"hugetlb.{size}.max_usage_in_bytes")
        yield from _some("container_hugetlb_max_usage_bytes", most, size)


@functools.cache
def _page_sizes() -> tuple[str, ...]:
    """As cgroup files name them: 2MB, 1GB."""
    try:
        names = os.listdir("/sys/kernel/mm/hugepages")
    except FileNotFoundError:
        return ()
    kilobytes = sorted(int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names)
    return tuple(
        f"{size >> 20}GB" if size >> 20 else f"{size >> 10}MB" if size >> 10 else f"{size}KB" for size in kilobytes
    )


def _pressure(directory: str) -> Iterator[Value]:
    for what in ("cpu", "memory", "io"):
        stats = pressure(_text(directory, f"{what}.pressure"))
        if stats is not None:
            yield Value(f"container_pressure_{what}_waiting_seconds_total", stats.Some.Total // 10**6)
            yield Value(f"container_pressure_{what}_stalled_seconds_total", stats.Full.Total // 10**6)
