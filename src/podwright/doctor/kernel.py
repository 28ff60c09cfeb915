"""What the kernel offers: overlayfs, cgroups, namespaces, security modules, limits."""

import re
import shutil
from collections.abc import Iterator
from typing import Final

from podwright.doctor.finding import Finding, fault, ok, warning
from podwright.doctor.machine import Machine

_NEEDED: Final = ("cpu", "memory", "pids")
_USEFUL: Final = ("cpuset", "hugetlb")
_LIMITS: Final = (
    ("fs/inotify/max_user_instances", 512, "log readers and kubelets fail with `too many open files`"),
    ("fs/inotify/max_user_watches", 65536, "programs that watch files fail with `no space left on device`"),
    ("kernel/pid_max", 65536, "many pods share the numbers of processes"),
    ("fs/nr_open", 1048576, "containers cannot have as many open files as they are used to"),
)
"""Files below /proc/sys, the least that is enough for a node full of pods, and what happens below it."""


def check(machine: Machine) -> Iterator[Finding]:
    """All of the kernel."""
    yield _version(machine)
    yield _overlay(machine)
    yield _cgroups(machine)
    yield _user_namespaces(machine)
    yield _seccomp(machine)
    yield _apparmor(machine)
    yield _pressure(machine)
    yield from _limits(machine)


def _version(machine: Machine) -> Finding:
    release = machine.text("/proc/sys/kernel/osrelease")
    if _number(release) < (5, 12):
        advice = "use a newer kernel: id-mapped and recursively read-only mounts are missing"
        return warning("kernel", f"Linux {release} is older than 5.12", advice)
    return ok("kernel", f"Linux {release}")


def _number(release: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _overlay(machine: Machine) -> Finding:
    if "overlay" not in machine.text("/proc/filesystems").split():
        return fault("overlayfs", "the kernel has no overlayfs", "modprobe overlay")
    return ok("overlayfs", "the kernel has it")


def _cgroups(machine: Machine) -> Finding:
    """v2 lists what can be used in a file of its root; v1 in /proc/cgroups, where the fourth column is 1."""
    unified = machine.text("/sys/fs/cgroup/cgroup.controllers").split()
    old = [line.split() for line in machine.text("/proc/cgroups").splitlines()]
    if machine.exists("/sys/fs/cgroup/cgroup.controllers"):
        mode, there = "v2", set(unified)
    else:
        mode = "hybrid" if machine.exists("/sys/fs/cgroup/unified/cgroup.controllers") else "v1"
        there = {
            row[0] for row in old if len(row) == 4 and row[3] == "1" and machine.exists(f"/sys/fs/cgroup/{row[0]}")
        }
    missing = [name for name in _NEEDED if name not in there]
    if missing:
        advice = "enable them: mount the hierarchy; look for cgroup_disable= in /proc/cmdline"
        return fault("cgroups", f"{mode}, but the controllers {', '.join(missing)} are missing", advice)
    missing = [name for name in _USEFUL if name not in there]
    note = f"; without {', '.join(missing)}" if missing else ""
    if mode != "v2":
        return warning("cgroups", f"{mode}{note}", "use v2: kubelets from 1.35 on refuse v1 by default")
    return ok("cgroups", f"{mode}{note}")


def _user_namespaces(machine: Machine) -> Finding:
    most, release = machine.number("/proc/sys/user/max_user_namespaces"), machine.text("/proc/sys/kernel/osrelease")
    if not most:
        advice = "raise the sysctl user.max_user_namespaces"
        return warning("user namespaces", "none may be made: pods with `hostUsers: false` fail", advice)
    if _number(release) < (6, 3):
        advice = "use Linux 6.3 or later"
        return warning("user namespaces", "no id-mapped tmpfs: pods with `hostUsers: false` fail", advice)
    return ok("user namespaces", f"at most {most}")


def _seccomp(machine: Machine) -> Finding:
    if not machine.exists("/proc/sys/kernel/seccomp/actions_avail"):
        return warning(
            "seccomp",
            "the kernel has none: pods with a profile fail or run without",
            "use a kernel with SECCOMP_FILTER",
        )
    return ok("seccomp", "the kernel has it")


def _apparmor(machine: Machine) -> Finding:
    if machine.text("/sys/module/apparmor/parameters/enabled") != "Y":
        return ok("apparmor", "not in use: pods that name a profile of theirs are refused")
    if shutil.which("apparmor_parser") is None:
        return warning("apparmor", "in use, but apparmor_parser is missing", "install apparmor")
    return ok("apparmor", "in use")


def _pressure(machine: Machine) -> Finding:
    if not machine.exists("/proc/pressure/memory"):
        return warning("pressure", "the kernel keeps no figures of it (PSI)", "boot with psi=1")
    return ok("pressure", "the kernel keeps figures of it (PSI)")


def _limits(machine: Machine) -> Iterator[Finding]:
    for name, least, harm in _LIMITS:
        number, sysctl = machine.number(f"/proc/sys/{name}"), name.replace("/", ".")
        if number is None:
            yield warning("limits", f"{sysctl} cannot be read", "mount /proc")
        elif number < least:
            yield warning("limits", f"{sysctl} is {number}: {harm}", f"sysctl -w {sysctl}={least}")
        else:
            yield ok("limits", f"{sysctl} is {number}")
