"""What this host can do, found out once at start."""

import glob
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from podwright.kernel import cgroups, process
from podwright.kernel.cgroups import Cgroups
from podwright.oci import capabilities

Driver = Literal["systemd", "cgroupfs"]

_UNLIMITED = 2**64 - 1  # RLIM_INFINITY of the kernel; Python's is -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host, and what the daemon may do on it."""

    cgroups: Cgroups
    driver: Driver
    """Who makes cgroups."""
    controllers: frozenset[str]
    """Cgroup controllers that limits can be set with."""
    capabilities: frozenset[str]
    """The daemon's bounding set: more no container can have."""
    may_raise_limits: bool
    """Whether the daemon has CAP_SYS_RESOURCE."""
    oom_score_adj: int
    """The daemon's own, which is the least that it can give without CAP_SYS_RESOURCE."""
    hard_limits: Mapping[str, int]
    """The daemon's own hard limits by name, such as RLIMIT_NOFILE, which are the most that it can give without
    CAP_SYS_RESOURCE.
    """
    hugepage_sizes: frozenset[str]
    """Sizes such as 2MB that can be limited."""
    swap_accounting: bool
    """Whether swap can be limited."""
    seccomp: bool
    selinux: bool
    apparmor: bool
    apparmor_profiles_file: str = "/sys/kernel/security/apparmor/profiles"

    @classmethod
    def probe(cls, *, driver: Literal["auto", "systemd", "cgroupfs"] = "auto") -> "Host":
        """Looks. With "auto" systemd makes the cgroups where it runs."""
        found = cgroups.detect()
        controllers = _controllers(found)
        systemd = driver == "systemd" or (driver == "auto" and os.path.isdir("/run/systemd/system"))
        return cls(
            cgroups=found,
            driver="systemd" if systemd else "cgroupfs",
            controllers=controllers,
            capabilities=capabilities.from_mask(process.bounding_capabilities()),
            may_raise_limits=process.may_raise_limits(),
            oom_score_adj=process.oom_score_adj(),
            hard_limits=_hard_limits(),
            hugepage_sizes=_hugepage_sizes() if "hugetlb" in controllers else frozenset(),
            swap_accounting=_swap_accounting(found),
            seccomp=os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
            selinux=os.path.exists("/sys/fs/selinux/enforce"),
            apparmor=_first_letter("/sys/module/apparmor/parameters/enabled") == "Y",
        )

    @property
    def v2(self) -> bool:
        """Whether limits are set in cgroup v2."""
        return self.cgroups.mode == "v2"

    def apparmor_profiles(self) -> set[str]:
        """The AppArmor profiles that are loaded now."""
        try:
            with open(self.apparmor_profiles_file, encoding="utf-8", errors="replace") as lines:
                return {line.rpartition(" (")[0] for line in lines}
        except OSError:
            return set()


def _controllers(found: Cgroups) -> frozenset[str]:
    if found.mode != "v2":
        return frozenset(found.controllers) - {"name=systemd"}
    with open(f"{found.unified}/cgroup.controllers", encoding="ascii") as file:
        return frozenset(file.read().split())


def _hard_limits() -> dict[str, int]:
    limits = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            hard = resource.getrlimit(getattr(resource, name))[1]
            limits[name] = _UNLIMITED if hard == resource.RLIM_INFINITY else hard
    return limits


def _hugepage_sizes(directory: str = "/sys/kernel/mm/hugepages") -> frozenset[str]:
    """hugepages-2048kB → 2MB, as the files of the cgroup controller are named."""
    sizes = set()
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        kilobytes = int(name.removeprefix("hugepages-").removesuffix("kB"))
        for unit, factor in (("GB", 1 << 20), ("MB", 1 << 10), ("KB", 1)):
            if kilobytes >= factor:
                sizes.add(f"{kilobytes // factor}{unit}")
                break
    return frozenset(sizes)


def _swap_accounting(found: Cgroups) -> bool:
    if found.mode != "v2":
        memory = found.controllers.get("memory")
        return memory is not None and os.path.exists(f"{memory}/memory.memsw.limit_in_bytes")
    # The root cgroup has no such file, its children do.
    return bool(glob.glob(f"{found.unified}/*/memory.swap.max"))


def _first_letter(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(1)
    except OSError:
        return ""
