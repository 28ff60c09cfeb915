"""The figures of one cgroup that kubelets ask for again and again.

Its files are kept open between two readings: opening one costs 8 µs and more, reading an open one 1 to 3 µs, and a
container has up to nine. An open file takes 4 KiB of the kernel's memory: meters.py decides how long.
"""

import functools
import os
import re
import threading
from collections.abc import Mapping
from typing import NamedTuple

from podwright.cri import v1
from podwright.kernel.cgroups import Cgroups

FILES = 9
"""How many files a reader keeps open at most."""
_READ_BYTES = 16384
_UNLIMITED = 1 << 62
"""Limits from here on are v1's way of saying none: the largest number of pages."""
_PRESSURE = re.compile(rb"(some|full) avg10=([0-9.]+) avg60=([0-9.]+) avg300=([0-9.]+) total=([0-9]+)")


class Figures(NamedTuple):
    """What the processes of a cgroup use, in bytes and nanoseconds. None: the kernel does not say, or no limit."""

    cpu_ns: int
    memory: int
    working_set: int
    """Without file cache that is not in use; what kubelets evict by."""
    rss: int
    page_faults: int
    major_page_faults: int
    memory_limit: int | None
    swap: int | None
    swap_limit: int | None
    cpu_pressure: v1.PsiStats | None
    memory_pressure: v1.PsiStats | None
    io_pressure: v1.PsiStats | None


class CgroupReader:
    """Reads a cgroup's figures; may be used by several threads. `close` it when the cgroup has gone."""

    def __init__(self, cgroups: Cgroups, path: str) -> None:
        self._v2 = cgroups.mode == "v2"
        self._paths = _paths_v2(cgroups, path) if self._v2 else _paths_v1(cgroups, path)
        self._open: dict[str, int | None] = {}
        """Open files by what they have; None for those that do not exist."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the files; the next reading opens them again."""
        with self._lock:
            for fd in self._open.values():
                if fd is not None:
                    os.close(fd)
            self._open.clear()

    def read(self) -> Figures | None:
        """The figures now; None if the cgroup is gone."""
        with self._lock:
            try:
                return self._read_v2() if self._v2 else self._read_v1()
            except (OSError, ValueError):  # gone, or its controllers are
                return None

    def _read_v2(self) -> Figures:
        memory = b"\n" + self._text("memory.stat")
        usage = int(self._text("memory"))
        swap = self._optional("swap")
        return Figures(
            cpu_ns=_field(b"\n" + self._text("cpu"), b"\nusage_usec ") * 1000,
            memory=usage,
            working_set=max(usage - _field(memory, b"\ninactive_file "), 0),
            rss=_field(memory, b"\nanon "),
            page_faults=_field(memory, b"\npgfault "),
            major_page_faults=_field(memory, b"\npgmajfault "),
            memory_limit=_limit(self._text("memory.limit")),
            swap=int(swap) if swap else None,
            swap_limit=_limit(self._optional("swap.limit")),
            **self._pressures(),
        )

    def _read_v1(self) -> Figures:
        memory = b"\n" + self._text("memory.stat")
        usage = int(self._text("memory"))
        limit, with_swap = _limit(self._text("memory.limit")), _limit(self._optional("swap.limit"))
        return Figures(
            cpu_ns=int(self._text("cpu")),
            memory=usage,
            working_set=max(usage - _field(memory, b"\ntotal_inactive_file "), 0),
            rss=_field(memory, b"\ntotal_rss "),
            page_faults=_field(memory, b"\ntotal_pgfault "),
            major_page_faults=_field(memory, b"\ntotal_pgmajfault "),
            memory_limit=limit,
            swap=_field(memory, b"\ntotal_swap ") if b"\ntotal_swap " in memory else None,  # with swap accounting only
            swap_limit=with_swap - limit if with_swap is not None and limit is not None else None,
            **self._pressures(),
        )

    def _pressures(self) -> Mapping[str, v1.PsiStats | None]:
        return {
            "cpu_pressure": pressure(self._optional("cpu_pressure")),
            "memory_pressure": pressure(self._optional("memory_pressure")),
            "io_pressure": pressure(self._optional("io_pressure")),
        }

    def _text(self, what: str) -> bytes:
        try:
            fd = self._open[what]
        except KeyError:
            fd = self._open[what] = os.open(self._paths[what], os.O_RDONLY | os.O_CLOEXEC)
        assert fd is not None
        return os.pread(fd, _READ_BYTES, 0)

    def _optional(self, what: str) -> bytes:
        """As _text, but empty for a file that this kernel, or this hierarchy, does not have."""
        if self._open.get(what, -1) is None:
            return b""
        try:
            return self._text(what)
        except (FileNotFoundError, KeyError):
            self._open[what] = None
            return b""
        except OSError:  # EOPNOTSUPP: pressure is accounted for, but not in this cgroup (cgroup.pressure)
            return b""


def _paths_v2(cgroups: Cgroups, path: str) -> Mapping[str, str]:
    directory = f"{cgroups.unified}{path}"
    return {
        "cpu": f"{directory}/cpu.stat",
        "memory": f"{directory}/memory.current",
        "memory.stat": f"{directory}/memory.stat",
        "memory.limit": f"{directory}/memory.max",
        "swap": f"{directory}/memory.swap.current",
        "swap.limit": f"{directory}/memory.swap.max",
        **_pressure_paths(directory),
    }


def _paths_v1(cgroups: Cgroups, path: str) -> Mapping[str, str]:
    memory = cgroups.directory("memory", path)
    return {
        "cpu": f"{cgroups.directory('cpuacct', path)}/cpuacct.usage",
        "memory": f"{memory}/memory.usage_in_bytes",
        "memory.stat": f"{memory}/memory.stat",
        "memory.limit": f"{memory}/memory.limit_in_bytes",
        "swap.limit": f"{memory}/memory.memsw.limit_in_bytes",
        **(_pressure_paths(f"{cgroups.unified}{path}") if cgroups.unified else {}),
    }


def _pressure_paths(directory: str) -> Mapping[str, str]:
    return {f"{what}_pressure": f"{directory}/{what}.pressure" for what in ("cpu", "memory", "io")}


def _field(text: bytes, name: bytes) -> int:
    """The number after `name`, which has the newline before it and the space behind. Some fields of many are wanted.
    Raises ValueError.
    """
    start = text.index(name) + len(name)
    return int(text[start : text.index(b"\n", start)])


def fields(text: bytes) -> dict[bytes, bytes]:
    """A file of lines `name number`."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


def _limit(text: bytes) -> int | None:
    """A limit in bytes; None for `max`, for v1's way of saying it, and for an empty text."""
    text = text.strip()
    return None if text in (b"", b"max") or int(text) >= _UNLIMITED else int(text)


@functools.lru_cache(maxsize=512)  # most containers have no pressure, and so the same text
def pressure(text: bytes) -> v1.PsiStats | None:
    """A pressure file (kernel: accounting/psi.rst); None for an empty text. The result is shared: do not change it."""
    lines = _PRESSURE.findall(text)
    if not lines:
        return None
    stats = v1.PsiStats()
    for kind, avg10, avg60, avg300, total in lines:
        data = stats.Some if kind == b"some" else stats.Full
        data.Total, data.Avg10, data.Avg60, data.Avg300 = int(total), float(avg10), float(avg60), float(avg300)
    return stats
