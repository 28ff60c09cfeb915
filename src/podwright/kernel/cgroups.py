"""Control groups, whatever the host mounts: v2, v1, or v1 with a v2 hierarchy beside it (hybrid).

A cgroup is named by its path below the root of the hierarchies, such as /kubepods/pod1/abc; in v1 one path stands for
one directory in each hierarchy. Kernel documentation: admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

import contextlib
import errno
import itertools
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import Literal

from podwright.kernel import mounts

KILL_SECONDS = 5.0
"""How long a kill may take in which those who fork meanwhile have to be looked for again and again."""

Mode = Literal["v1", "hybrid", "v2"]


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The hierarchies of this host."""

    mode: Mode
    unified: str | None
    """Mount point of the v2 hierarchy, where there is one."""
    controllers: dict[str, str]
    """Mount point by v1 controller; name=systemd counts as one. Empty in mode v2."""

    def _roots(self) -> list[str]:
        return sorted({*self.controllers.values(), *([self.unified] if self.unified else [])})

    def directories(self, path: str) -> list[str]:
        """The existing directories that `path` stands for."""
        return [d for d in (root + path for root in self._roots()) if os.path.isdir(d)]

    def exists(self, path: str) -> bool:
        """Whether any hierarchy has the cgroup."""
        return bool(self.directories(path))

    def nearest(self, path: str) -> str:
        """The cgroup, or else the nearest one above it that exists."""
        while path != "/" and not self.exists(path):
            path = os.path.dirname(path)
        return path

    def directory(self, controller: str, path: str) -> str:
        """The directory that has the files of a controller, whether or not the cgroup exists."""
        root = self.controllers.get(controller, self.unified) if self.mode != "v2" else self.unified
        if root is None:
            raise OSError(errno.ENOENT, f"no hierarchy has the controller {controller!r}", path)
        return root + path

    def of_process(self, pid: int) -> str:
        """The path of the cgroup that the process is in. Raises ProcessLookupError."""
        wanted = "0::" if self.mode == "v2" else ":memory:" if "memory" in self.controllers else "0::"
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8") as lines:
                for line in lines:
                    if wanted in line:
                        return line.rstrip("\n").split(":", 2)[2]
        except FileNotFoundError:
            raise ProcessLookupError(errno.ESRCH, "no such process", f"/proc/{pid}") from None
        raise OSError(errno.ENOENT, "the process is in no cgroup", f"/proc/{pid}/cgroup")

    def processes(self, path: str) -> set[int]:
        """The processes in the cgroup and in those below it."""
        found: set[int] = set()
        for directory in self.directories(path):
            for below, _, _ in os.walk(directory):
                with contextlib.suppress(OSError), open(f"{below}/cgroup.procs", encoding="ascii") as procs:
                    found.update(int(line) for line in procs)
        return found

    def count_processes(self, path: str) -> int:
        """How many processes are in the cgroup and in those below it; 0 if it is gone."""
        count = 0
        for below, _, _ in os.walk(self.directory("memory", path)):
            with contextlib.suppress(OSError), open(f"{below}/cgroup.procs", "rb") as procs:
                count += procs.read().count(b"\n")
        return count

    def kill(self, path: str, *, seconds: float = KILL_SECONDS) -> None:
        """Sends SIGKILL to everything in the cgroup and below; nobody can escape by forking. Succeeds if it does not
        exist. Raises OSError for the root, which has everybody in it.

        Where that takes several rounds it takes `seconds` at most: somebody who does not die then is in
        uninterruptible sleep, or frozen, and has the signal.
        """
        if path in ("", "/"):
            raise OSError(errno.EINVAL, "the root of all cgroups is not to be killed", path)
        if self.unified is not None and os.path.exists(f"{self.unified}{path}/cgroup.kill"):
            with contextlib.suppress(FileNotFoundError):
                _write(f"{self.unified}{path}/cgroup.kill", "1")
            return
        # v1, and v2 before Linux 5.14: kill until nobody is left who could have forked between reading and killing.
        deadline = time.monotonic() + seconds
        while (pids := self.processes(path)) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.wait_empty(path, 0.01)

    def wait_empty(self, path: str, seconds: float) -> bool:
        """Waits until no process is left in the cgroup and below. Returns whether that happened in time."""
        deadline = time.monotonic() + seconds
        events = f"{self.unified}{path}/cgroup.events"
        if self.unified is not None and os.path.exists(events):
            return _wait_unpopulated(events, deadline)
        while self.processes(path):  # v1 tells nobody
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def oom_kills(self, path: str) -> int:
        """How many processes of the cgroup the kernel has killed for lack of memory; 0 if the cgroup is gone."""
        try:
            if self.mode == "v2":
                return _field(f"{self.directory('memory', path)}/memory.events", "oom_kill")
            return _field(f"{self.directory('memory', path)}/memory.oom_control", "oom_kill")
        except OSError:
            return 0

    def lift_cpu_quota(self, path: str) -> None:
        """Lets the cgroup use all of its processors. Raises OSError. cgroup v1 only: OCI runtimes do it on v2."""
        _write(f"{self.directory('cpu', path)}/cpu.cfs_quota_us", "-1")

    def freeze(self, path: str, *, frozen: bool, seconds: float = 10.0) -> None:
        """Stops or continues everything in the cgroup, and waits until it is so. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        for attempt in itertools.count(1):
            if self.mode == "v2":
                if attempt == 1:
                    _write(f"{self.unified}{path}/cgroup.freeze", "1" if frozen else "0")
            else:
                # v1 can hang in FREEZING while processes fork: it has to be told again, and to thaw in between
                # (cgroup-v1/freezer-subsystem.rst; runc does the same).
                file = f"{self.controllers['freezer']}{path}/freezer.state"
                if frozen and attempt % 50 == 0:
                    _write(file, "THAWED")
                _write(file, "FROZEN" if frozen else "THAWED")
            if self.is_frozen(path) == frozen:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "cgroup does not freeze", path)
            time.sleep(0.002)

    def is_frozen(self, path: str) -> bool:
        """Whether everything in the cgroup has stopped."""
        if self.mode == "v2":
            return _field(f"{self.unified}{path}/cgroup.events", "frozen") == 1
        with open(f"{self.controllers['freezer']}{path}/freezer.state", encoding="ascii") as state:
            return state.read().strip() == "FROZEN"

    def remove(self, path: str, *, up_to: str = "") -> None:
        """Removes the cgroup and those below it from all hierarchies, then, with `up_to`, those above it that have
        become empty, as far as but not including that one.

        Raises OSError (EBUSY) if processes are left. Succeeds if it does not exist.
        """
        for directory in self.directories(path):
            for below, _, _ in os.walk(directory, topdown=False):
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(below)
        while up_to and (path := os.path.dirname(path)) not in ("/", up_to):
            try:
                self.remove_if_empty(path)
            except OSError:  # others live there
                return

    def remove_shadow(self, path: str) -> None:
        """Removes the cgroup from the v2 hierarchy of a hybrid host, unless somebody uses it.

        OCI runtimes join it as they join the v1 hierarchies; kubelets that know of v1 only remove theirs from there and
        leave it behind. It limits nothing, so nobody misses it.
        """
        try:
            os.rmdir(f"{self.unified}{path}")
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                raise

    def remove_if_empty(self, path: str) -> None:
        """Removes the cgroup where it has neither children nor processes. Raises OSError (EBUSY, ENOTEMPTY)."""
        for directory in self.directories(path):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory)


def detect(root: str = "/sys/fs/cgroup") -> Cgroups:
    """Looks at what is mounted at and below `root`."""
    unified: str | None = None
    controllers: dict[str, str] = {}
    for mount in mounts.list_mounts():
        if mount.mount_point != root and not mount.mount_point.startswith(root + "/"):
            continue
        if mount.fstype == "cgroup2":
            unified = mount.mount_point
        elif mount.fstype == "cgroup":
            names = _v1_names(mount.mount_point)
            controllers.update(dict.fromkeys(names, mount.mount_point))
    if unified is None and not controllers:
        raise OSError(errno.ENOENT, "no cgroup hierarchy is mounted", root)
    if not controllers:
        return Cgroups("v2", unified, {})
    return Cgroups("v1" if unified is None else "hybrid", unified, controllers)


def _v1_names(mount_point: str) -> list[str]:
    """The controllers of a v1 hierarchy, which its directory is named after by custom (cpu,cpuacct)."""
    return ["name=systemd"] if os.path.basename(mount_point) == "systemd" else os.path.basename(mount_point).split(",")


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _field(path: str, name: str) -> int:
    """The number after `name` in a file of lines `name number`; 0 if there is no such line."""
    with open(path, encoding="ascii") as lines:
        for line in lines:
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _wait_unpopulated(events: str, deadline: float) -> bool:
    try:
        fd = os.open(events, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while True:
            try:
                content = os.pread(fd, 4096, 0)
            except OSError as error:
                if error.errno == errno.ENODEV:  # removed meanwhile
                    return True
                raise
            if b"populated 0" in content:
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poll.poll(left * 1000)
    finally:
        os.close(fd)
