"""Figures of many cgroups over time: readers that are kept while somebody asks, and rates from the last samples.

Nothing is sampled by itself: a rate is what was used between two questions. Kubelets ask every ten seconds.
"""

import resource
import threading
import time
from typing import NamedTuple

from podwright.kernel.cgroups import Cgroups
from podwright.stats.cgroup_figures import FILES, CgroupReader, Figures

IDLE_SECONDS = 60.0
"""After this time without a question a meter is given up."""
RATE_NS = 10**9
"""The shortest time between two samples that a rate is made of; those who ask more often get the last one again."""


class Sample(NamedTuple):
    """Figures, and the CPU time used per second since an earlier sample, in nanoseconds; None if this is the first."""

    figures: Figures
    cpu_rate: int | None


class _Meter:
    __slots__ = ("asked", "kept", "rate", "reader", "sampled_ns", "used_ns")

    def __init__(self, reader: CgroupReader) -> None:
        self.reader = reader
        self.kept = False
        """Whether the reader's files stay open."""
        self.asked = time.monotonic()
        self.sampled_ns = 0
        self.used_ns = 0
        self.rate: int | None = None

    def sample(self) -> Sample | None:
        figures = self.reader.read()
        now = time.monotonic_ns()
        self.asked = now / 1e9
        if figures is None:
            return None
        passed = now - self.sampled_ns
        if passed >= RATE_NS:
            if self.sampled_ns:
                self.rate = max(figures.cpu_ns - self.used_ns, 0) * 10**9 // passed
            self.sampled_ns, self.used_ns = now, figures.cpu_ns
        return Sample(figures, self.rate)


class Meters:
    """Meters by the id of the sandbox or container whose cgroup it is. Any thread may ask."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._meters: dict[str, _Meter] = {}
        self._lock = threading.Lock()
        self._kept = 0
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._may_keep = soft_limit // 2 // FILES

    def sample(self, object_id: str, path: str) -> Sample | None:
        """The figures of the object's cgroup now; None if it is gone. Blocking, for microseconds."""
        meter = self._meters.get(object_id)
        if meter is None or not meter.kept:
            meter = self._enter(object_id, path)
        sample = meter.sample()
        if not meter.kept:
            meter.reader.close()
        return sample

    def forget(self, object_id: str) -> None:
        """Gives up the meter of an object that runs no more."""
        with self._lock:
            meter = self._meters.pop(object_id, None)
            if meter is not None:
                self._close(meter)

    def forget_idle(self) -> None:
        """Gives up meters that nobody has asked for lately."""
        oldest = time.monotonic() - IDLE_SECONDS
        with self._lock:
            idle = [object_id for object_id, meter in self._meters.items() if meter.asked < oldest]
            for object_id in idle:
                self._close(self._meters.pop(object_id))

    def _enter(self, object_id: str, path: str) -> _Meter:
        with self._lock:
            meter = self._meters.get(object_id)
            if meter is None:
                meter = self._meters[object_id] = _Meter(CgroupReader(self._cgroups, path))
            if not meter.kept and self._kept < self._may_keep:
                meter.kept = True
                self._kept += 1
            return meter

    def _close(self, meter: _Meter) -> None:
        """The caller holds the lock."""
        self._kept -= meter.kept
        meter.kept = False
        meter.reader.close()
