"""Metrics of a container's processes, from /proc."""

import contextlib
import os
from collections.abc import Collection, Iterator

from podwright.stats.cgroup_metrics import Value

_OPEN_FILES = "Max open files"


def read(first: int, processes: Collection[int]) -> Iterator[Value]:
    """Counts of the processes, and the limits of the first one. Blocking. Processes may end meanwhile."""
    descriptors = sockets = 0
    for pid in processes:
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                descriptors += 1
                with contextlib.suppress(OSError):
                    sockets += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
    yield Value("container_processes", len(processes))
    yield Value("container_file_descriptors", descriptors)
    yield Value("container_sockets", sockets)
    limit = _soft_limit_of_open_files(first)
    if limit is not None:
        yield Value("container_ulimits_soft", limit, ("max_open_files",))


def _soft_limit_of_open_files(pid: int) -> int | None:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/limits", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(_OPEN_FILES):
                soft = line.removeprefix(_OPEN_FILES).split()[0]
                return None if soft == "unlimited" else int(soft)
    return None
