"""The cgroups that a node makes above those of its runtime: one for all pods, one for each class, one for each pod.

    cgroupfs   <root>/kubepods[/burstable|/besteffort]/pod<uid>
    systemd    kubepods[-burstable|-besteffort]-pod<uid>.slice, below one another as systemd has it

The runtime is given a pod's as cgroup_parent. In v1 only the hierarchies that limit something here get directories;
runtimes make the others as they need them. All functions that touch the host block.
"""

import logging
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from podwright.errors import Internal
from podwright.kernel.cgroups import Cgroups
from podwright.node import qos
from podwright.pods.schema import Pod

logger = logging.getLogger(__name__)

_PERIOD: Final = 100_000  # microseconds: cpu.cfs_period_us
_V1: Final = ("cpu", "memory", "pids")
_V2: Final = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")

Limits = Mapping[str, int]
"""cpu_shares, cpu_quota (microseconds of 100 ms), memory (bytes), pids; what is absent is not limited."""


@dataclass(slots=True)
class PodCgroups:
    """Makes, limits and removes them."""

    hierarchies: Cgroups
    driver: str
    root: str
    per_qos: bool
    pids_limit: int = -1
    _made: dict[str, Limits] = field(default_factory=dict)

    def parent(self, pod: Pod) -> str:
        """The pod's cgroup, as CRI wants cgroup_parent; empty if pods have none."""
        if not self.per_qos:
            return ""
        names = ["kubepods", *_CLASS_NAMES[qos.of(pod)], f"pod{pod.metadata.uid}"]
        return self._name(names)

    def prepare(self, cpu_milli: int, memory: int) -> None:
        """Makes the cgroups of the node and of the classes, with what pods may use together."""
        if not self.per_qos:
            return
        self._make(["kubepods"], {"cpu_shares": qos.milli_cpu_to_shares(cpu_milli), "memory": memory})
        self._make(["kubepods", "besteffort"], {"cpu_shares": 2})
        self._make(["kubepods", "burstable"], {"cpu_shares": 2})

    def make(self, pod: Pod) -> None:
        """Makes the cgroup of a pod and sets its limits."""
        if self.per_qos:
            names = ["kubepods", *_CLASS_NAMES[qos.of(pod)], f"pod{pod.metadata.uid}"]
            self._made.pop(self._path(names), None)  # runtimes may remove it with its last container
            self._make(names, self.limits(pod))

    def limits(self, pod: Pod) -> Limits:
        """What a pod as a whole may use."""
        cpu = qos.rounded(qos.total(pod, "requests", "cpu"), lambda amount: amount * 1000)
        result = {"cpu_shares": qos.milli_cpu_to_shares(cpu)}
        if quota := qos.rounded(qos.total(pod, "limits", "cpu"), lambda amount: amount * _PERIOD):
            result["cpu_quota"] = max(1000, quota)
        if memory := qos.rounded(qos.total(pod, "limits", "memory")):
            result["memory"] = memory
        if self.pids_limit > 0:
            result["pids"] = self.pids_limit
        return result

    def weigh(self, pods: Iterable[Pod]) -> None:
        """Gives the class Burstable the CPU that its pods ask for together."""
        if not self.per_qos:
            return
        asked = sum(
            qos.rounded(qos.total(pod, "requests", "cpu"), lambda amount: amount * 1000)
            for pod in pods
            if qos.of(pod) == "Burstable"
        )
        self._make(["kubepods", "burstable"], {"cpu_shares": qos.milli_cpu_to_shares(asked)})

    def remove(self, uid: str) -> None:
        """Removes the cgroup of a pod in which nothing runs any more, whatever its class. Missing is a success."""
        for of_class in _CLASS_NAMES.values():
            names = ["kubepods", *of_class, f"pod{uid}"]
            path = self._path(names)
            self._made.pop(path, None)
            if not (self.per_qos and self.hierarchies.exists(path)):
                continue
            if self.driver == "systemd":
                _systemctl("stop", self._name(names))
                continue
            try:
                self.hierarchies.remove(path)
            except OSError as error:
                logger.warning("cgroup %s cannot be removed: %s", path, error)

    def uids(self) -> set[str]:
        """The pods that have cgroups, those of agents before this one too."""
        found: set[str] = set()
        for of_class in _CLASS_NAMES.values() if self.per_qos else ():
            names = ["kubepods", *of_class]
            for directory in self.hierarchies.directories(self._path(names)):
                found |= {self._uid(names, name) for name in os.listdir(directory)}
        return found - {""}

    def _uid(self, names: list[str], name: str) -> str:
        """The pod of a cgroup below that of a class; empty for all others."""
        if self.driver != "systemd":
            return name.removeprefix("pod") if name.startswith("pod") else ""
        prefix = "-".join(names) + "-pod"
        return name.removeprefix(prefix).removesuffix(".slice").replace("_", "-") if name.startswith(prefix) else ""

    def _name(self, names: list[str]) -> str:
        if self.driver == "systemd":
            return "-".join(name.replace("-", "_") for name in names) + ".slice"
        return self._path(names)

    def _path(self, names: list[str]) -> str:
        root = self.root.rstrip("/")
        if self.driver == "systemd":
            escaped = [name.replace("-", "_") for name in names]
            return root + "".join(f"/{'-'.join(escaped[: end + 1])}.slice" for end in range(len(escaped)))
        return f"{root}/{'/'.join(names)}"

    def _make(self, names: list[str], limits: Limits) -> None:
        path = self._path(names)
        if self._made.get(path) == limits:
            return
        try:
            if self.driver == "systemd":
                self._make_slice(self._name(names), limits)
            elif self.hierarchies.mode == "v2":
                self._make_v2(path, limits)
            else:
                self._make_v1(path, limits)
        except OSError as error:
            raise Internal(f"cgroup {path} cannot be made: {error}") from error
        self._made[path] = dict(limits)

    def _make_v1(self, path: str, limits: Limits) -> None:
        for controller in _V1:
            if controller in self.hierarchies.controllers:
                os.makedirs(self.hierarchies.directory(controller, path), exist_ok=True)
        for controller, file, key in (
            ("cpu", "cpu.shares", "cpu_shares"),
            ("cpu", "cpu.cfs_quota_us", "cpu_quota"),
            ("memory", "memory.limit_in_bytes", "memory"),
            ("pids", "pids.max", "pids"),
        ):
            if key in limits and controller in self.hierarchies.controllers:
                _write(f"{self.hierarchies.directory(controller, path)}/{file}", str(limits[key]))

    def _make_v2(self, path: str, limits: Limits) -> None:
        directory = self.hierarchies.unified or ""
        for part in path.strip("/").split("/"):
            with open(f"{directory}/cgroup.controllers", encoding="ascii") as file:
                there = file.read().split()
            for controller in set(there) & set(_V2):
                _write(f"{directory}/cgroup.subtree_control", f"+{controller}")
            directory += f"/{part}"
            os.makedirs(directory, exist_ok=True)
        if "cpu_shares" in limits:
            _write(f"{directory}/cpu.weight", str(1 + (limits["cpu_shares"] - 2) * 9999 // 262142))
        for name, text in (
            ("cpu.max", f"{limits['cpu_quota']} {_PERIOD}" if "cpu_quota" in limits else ""),
            ("memory.max", str(limits.get("memory", ""))),
            ("pids.max", str(limits.get("pids", ""))),
        ):
            if text:
                _write(f"{directory}/{name}", text)

    def _make_slice(self, name: str, limits: Limits) -> None:
        properties = [f"CPUWeight={1 + (limits['cpu_shares'] - 2) * 9999 // 262142}"]
        if "cpu_quota" in limits:
            properties.append(f"CPUQuota={limits['cpu_quota'] * 100 / _PERIOD:.0f}%")
        if "memory" in limits:
            properties.append(f"MemoryMax={limits['memory']}")
        if "pids" in limits:
            properties.append(f"TasksMax={limits['pids']}")
        _systemctl("start", name)
        _systemctl("set-property", "--runtime", name, *properties)


_CLASS_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "Guaranteed": (),
    "Burstable": ("burstable",),
    "BestEffort": ("besteffort",),
}


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _systemctl(*arguments: str) -> None:
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Internal(f"systemctl {' '.join(arguments)}: {done.stderr.strip()}")
