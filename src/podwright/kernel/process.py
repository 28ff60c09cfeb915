"""Processes of others: are they alive, what are their limits, which capabilities has this one."""

import contextlib
import errno
import os
import select
import signal
from dataclasses import dataclass

CAP_SYS_RESOURCE = 24  # include/uapi/linux/capability.h


@dataclass(frozen=True, slots=True)
class Pid:
    """A process for ever: its number, and its start time in clock ticks since boot, since numbers are used again."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Pid":
        """The process that has this number now. Raises ProcessLookupError."""
        return cls(pid, start_time(pid))

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            return start_time(self.pid) == self.started and not _is_zombie(self.pid)
        except ProcessLookupError:
            return False

    def open(self) -> int | None:
        """A pidfd, which becomes readable when the process ends; None if it has ended."""
        try:
            fd = os.pidfd_open(self.pid)
        except OSError as error:
            # Older kernels say EINVAL while the number is still that of a session, or a process group, of others.
            if error.errno in (errno.ESRCH, errno.EINVAL):
                return None
            raise
        if self.alive():
            return fd
        os.close(fd)
        return None

    def wait(self, seconds: float) -> bool:
        """Waits for its end. Returns whether that came in time. Blocking."""
        fd = self.open()
        if fd is None:
            return True
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        finally:
            os.close(fd)

    def has_open(self, path: str) -> bool:
        """Whether the file at `path` is one that the process has open; False if either is gone."""
        try:
            wanted = os.stat(path)
            for entry in os.listdir(f"/proc/{self.pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    if os.path.samestat(os.stat(f"/proc/{self.pid}/fd/{entry}"), wanted):
                        return self.alive()
        except FileNotFoundError:
            pass
        return False

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal; does nothing if the process has ended."""
        fd = self.open()
        if fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(fd, number)
            os.close(fd)


def _stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat after the program's name: the state is number 0."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b") ")[2].split()
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, "no such process", f"/proc/{pid}") from None


def start_time(pid: int) -> int:
    """Field 22 of /proc/<pid>/stat. Raises ProcessLookupError."""
    return int(_stat_fields(pid)[19])


def _is_zombie(pid: int) -> bool:
    return _stat_fields(pid)[0] in (b"Z", b"X")


def descendants(roots: set[int]) -> set[int]:
    """All processes below `roots`, all of the sessions that they lead, and themselves, as they are this moment."""
    parents: dict[int, int] = {}
    found = set(roots)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(ProcessLookupError):
                fields = _stat_fields(int(entry))
                parents[int(entry)] = int(fields[1])
                if int(fields[3]) in roots:
                    found.add(int(entry))
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def group_of(pid: int) -> set[int]:
    """The processes that are in the process group of `pid`. Raises ProcessLookupError."""
    group = os.getpgid(pid)
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(ProcessLookupError):
                if int(_stat_fields(int(entry))[2]) == group:
                    found.add(int(entry))
    return found


def with_environment(pids: set[int], entry: bytes) -> set[int]:
    """Those of `pids` that were started with the environment entry NAME=value."""
    found = set()
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environment:
            if entry in environment.read().split(b"\0"):
                found.add(pid)
    return found


def with_argument(argument: bytes) -> set[int]:
    """Processes of this machine that have just this word in their command line."""
    found = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as command:
                if argument in command.read().split(b"\0"):
                    found.add(int(entry))
    return found


def bounding_capabilities() -> int:
    """The capability bounding set of this process, as a bit mask."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("CapBnd:"):
                return int(line.split()[1], 16)
    raise OSError("no CapBnd in /proc/self/status")


def may_raise_limits() -> bool:
    """Whether CAP_SYS_RESOURCE is there: to raise hard limits and to lower oom_score_adj."""
    return bool(bounding_capabilities() >> CAP_SYS_RESOURCE & 1)


def oom_score_adj() -> int:
    """This process's own, the lowest that it may give to others without CAP_SYS_RESOURCE."""
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


def set_oom_score_adj(pid: int, score: int) -> None:
    """Sets that of a process. Raises OSError: ENOENT, ESRCH if it has ended, EACCES for less than it may have."""
    fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, str(score).encode())
    finally:
        os.close(fd)


def boot_id() -> str:
    """Another one after each boot of the kernel."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
