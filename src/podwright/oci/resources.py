"""Cgroup limits: from CRI's LinuxContainerResources to linux.resources, for new containers and for updates.

What stock kubelets send must be accepted everywhere: limits 0 for huge pages that the host lacks, swap limits without
swap accounting, `unified` on cgroup v1, cpu_shares where nothing is limited.
"""

import os
import re
from collections.abc import Sequence

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.oci.documents import Document
from podwright.oci.host import Driver, Host

MIN_MEMORY = 512 << 10
"""Bytes. With less, not even the OCI runtime's own child gets as far as execve."""
SHARES = (2, 262144)
"""cpu.shares (kernel/sched/core.c, MIN_SHARES and MAX_SHARES)."""
PERIOD = (1000, 1_000_000)
"""Microseconds (kernel: scheduler/sched-bwc.rst)."""
DEFAULT_PERIOD = 100_000
QUOTA = (1000, 2**44 - 1)
"""Microseconds; more overflows the kernel's counter of nanoseconds (kernel/sched/sched.h, MAX_BW)."""
OOM_SCORE_ADJ = (-1000, 1000)

_RANGES = re.compile(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", re.ASCII)
_SLICE = re.compile(r"[A-Za-z0-9:_.\\@]+(-[A-Za-z0-9:_.\\@]+)*\.slice", re.ASCII)
_PAGE_SIZE = re.compile(r"[1-9]\d{0,5}[KMG]B", re.ASCII)
_UNIFIED = re.compile(r"[a-z0-9_]+(\.[A-Za-z0-9_]+)+", re.ASCII)


def check_parent(parent: str, driver: Driver) -> None:
    """Raises InvalidArgument unless `parent` is empty or a cgroup as the driver names them; a kubelet with the other
    driver is a common mistake.
    """
    if not parent:
        return
    field = "linux.cgroup_parent"
    if "\0" in parent or ".." in parent.split("/"):
        raise InvalidArgument(f'{field}: "{parent}" is no path of a cgroup')
    if driver == "systemd" and not _SLICE.fullmatch(os.path.basename(parent)):
        raise InvalidArgument(
            f'{field}: "{parent}" is no slice, and cgroups are made by systemd here; see cgroup.driver'
        )
    if driver == "cgroupfs" and parent.rstrip("/").endswith(".slice"):
        raise InvalidArgument(
            f'{field}: "{parent}" is a slice of systemd, which makes no cgroups here; see cgroup.driver'
        )


def cgroups_path(parent: str, object_id: str, driver: Driver) -> str:
    """linux.cgroupsPath: a path below the parent, or for systemd what the name of a scope is made of."""
    if driver == "systemd":
        return f"{os.path.basename(parent)}:podwright:{object_id}"
    return f"/{parent.strip('/')}/{object_id}".replace("//", "/")


def cgroup(parent: str, object_id: str, driver: Driver) -> str:
    """The cgroup that comes of it, below the root of the hierarchies."""
    return cgroup_at(cgroups_path(parent, object_id, driver), driver)


def cgroup_at(path: str, driver: Driver) -> str:
    """The cgroup that comes of linux.cgroupsPath, below the root of the hierarchies."""
    if driver == "cgroupfs":
        return path
    parent, prefix, name = path.split(":")
    return f"{parent_cgroup(parent, driver)}/{prefix}-{name}.scope"


def parent_cgroup(parent: str, driver: Driver) -> str:
    """The cgroup that a parent stands for, below the root of the hierarchies. systemd nests slices by the dashes in
    their names (systemd.slice(5)).
    """
    if driver == "cgroupfs":
        return f"/{parent.strip('/')}"
    parts = os.path.basename(parent).removesuffix(".slice").split("-")
    return "".join(f"/{'-'.join(parts[:depth])}.slice" for depth in range(1, len(parts) + 1))


def check(limits: v1.LinuxContainerResources, field: str = "linux.resources") -> None:
    """Raises InvalidArgument for values that no cgroup takes. `field` begins the messages."""
    _check_cpu(limits, field)
    _check_memory(limits, field)
    _check_range(f"{field}.oom_score_adj", limits.oom_score_adj, *OOM_SCORE_ADJ)
    for index, hugepage in enumerate(limits.hugepage_limits):
        if not _PAGE_SIZE.fullmatch(hugepage.page_size):
            raise InvalidArgument(f'{field}.hugepage_limits[{index}].page_size: "{hugepage.page_size}" is not like 2MB')
    for name, value in limits.unified.items():
        if not _UNIFIED.fullmatch(name) or name.startswith("cgroup."):
            raise InvalidArgument(f'{field}.unified: "{name}" is no limit of cgroup v2')
        if "\0" in value:
            raise InvalidArgument(f'{field}.unified: the value of "{name}" has a NUL character')


def _check_cpu(limits: v1.LinuxContainerResources, field: str) -> None:
    if limits.cpu_period:
        _check_range(f"{field}.cpu_period", limits.cpu_period, *PERIOD)
    if limits.cpu_quota not in (0, -1) and not QUOTA[0] <= limits.cpu_quota <= QUOTA[1]:
        raise InvalidArgument(f"{field}.cpu_quota: {limits.cpu_quota} is neither -1 nor from {QUOTA[0]} to {QUOTA[1]}")
    if limits.cpu_shares < 0:
        raise InvalidArgument(f"{field}.cpu_shares: {limits.cpu_shares} is negative")
    for name, text in (("cpuset_cpus", limits.cpuset_cpus), ("cpuset_mems", limits.cpuset_mems)):
        if text and not _is_set(text):
            raise InvalidArgument(f'{field}.{name}: "{text}" is no list such as 0-2,7')


def _is_set(text: str) -> bool:
    if not _RANGES.fullmatch(text):
        return False
    bounds = [part.partition("-") for part in text.split(",")]
    return all(not last or int(first) <= int(last) for first, _, last in bounds)


def _check_memory(limits: v1.LinuxContainerResources, field: str) -> None:
    memory, swap = limits.memory_limit_in_bytes, limits.memory_swap_limit_in_bytes
    if memory < -1 or 0 < memory < MIN_MEMORY:
        raise InvalidArgument(f"{field}.memory_limit_in_bytes: {memory} is neither -1 nor at least {MIN_MEMORY}")
    if swap < -1:
        raise InvalidArgument(f"{field}.memory_swap_limit_in_bytes: {swap} is negative")
    if swap > 0 and memory == -1:
        raise InvalidArgument(f"{field}.memory_swap_limit_in_bytes: {swap} limits memory too, which shall be unlimited")
    if 0 < swap < memory:
        raise InvalidArgument(f"{field}.memory_swap_limit_in_bytes: {swap} is less than the memory limit {memory}")


def _check_range(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidArgument(f"{field}: {value} is not between {least} and {most}")


def merged(current: v1.LinuxContainerResources, wanted: v1.LinuxContainerResources) -> v1.LinuxContainerResources:
    """The limits in force after an update: what is set in `wanted`, and the rest of `current`.

    A memory limit without a swap limit takes swap along, as at creation. Huge pages and unified are merged by name.
    """
    result = v1.LinuxContainerResources()
    result.CopyFrom(current)
    if wanted.memory_limit_in_bytes and not wanted.memory_swap_limit_in_bytes:
        result.ClearField("memory_swap_limit_in_bytes")
    pages = {hugepage.page_size: hugepage.limit for hugepage in (*current.hugepage_limits, *wanted.hugepage_limits)}
    result.MergeFrom(wanted)
    del result.hugepage_limits[:]
    result.hugepage_limits.extend(v1.HugepageLimit(page_size=size, limit=limit) for size, limit in pages.items())
    return result


def document(limits: v1.LinuxContainerResources, host: Host, notes: list[str]) -> Document:
    """linux.resources without `devices`: for config.json, and all of it for `update --resources`.

    Raises FailedPrecondition where a limit needs a controller that the host has not; `notes` gets a line for each
    wish that is passed over.
    """
    found: Document = {}
    for name, part in (("cpu", _cpu(limits, host, notes)), ("memory", _memory(limits, host, notes))):
        if part:
            found[name] = part
    if pages := _hugepages(limits.hugepage_limits, host, notes):
        found["hugepageLimits"] = pages
    if limits.unified:
        if host.v2:
            found["unified"] = dict(limits.unified)
        else:
            notes.append(f"unified is for cgroup v2: left out {', '.join(sorted(limits.unified))}")
    return found


def put(found: Document, more: Document) -> None:
    """Adds to linux.resources another part of it."""
    for part, values in more.items():
        found.setdefault(part, {}).update(values)


def _cpu(limits: v1.LinuxContainerResources, host: Host, notes: list[str]) -> Document:
    found: Document = {}
    if limits.cpu_shares:
        if "cpu" in host.controllers:
            found["shares"] = min(max(limits.cpu_shares, SHARES[0]), SHARES[1])
        else:
            notes.append("cpu_shares is left out: this host has no cgroup controller cpu")
    if limits.cpu_quota:
        _need(host, "cpu", "cpu_quota")
        if limits.cpu_quota > 0 or host.v2:  # crun 1.8 cannot write -1 to cgroup v1; container_update.py can
            found["quota"] = limits.cpu_quota
        found["period"] = limits.cpu_period or DEFAULT_PERIOD
    elif limits.cpu_period and "cpu" in host.controllers:
        found["period"] = limits.cpu_period
    for name, text in (("cpus", limits.cpuset_cpus), ("mems", limits.cpuset_mems)):
        if text:
            _need(host, "cpuset", f"cpuset_{name}")
            found[name] = text
    return found


def _memory(limits: v1.LinuxContainerResources, host: Host, notes: list[str]) -> Document:
    memory, swap = limits.memory_limit_in_bytes, limits.memory_swap_limit_in_bytes
    found: Document = {}
    if memory:
        _need(host, "memory", "memory_limit_in_bytes")
        found["limit"] = memory
    swap = swap or memory  # a container does not swap unless it is told that it may
    if swap and memory:
        if host.swap_accounting:
            found["swap"] = swap
        elif swap not in (memory, -1):
            notes.append("memory_swap_limit_in_bytes is left out: this host does not account swap")
    return found


def _hugepages(limits: Sequence[v1.HugepageLimit], host: Host, notes: list[str]) -> list[Document]:
    found = []
    for hugepage in limits:
        if hugepage.page_size in host.hugepage_sizes:
            found.append({"pageSize": hugepage.page_size, "limit": hugepage.limit})
        elif hugepage.limit:
            notes.append(f"the limit for huge pages of {hugepage.page_size} is left out: this host cannot limit them")
    return found


def _need(host: Host, controller: str, wish: str) -> None:
    if controller not in host.controllers:
        raise FailedPrecondition(f"linux.resources.{wish}: this host has no cgroup controller {controller}")
