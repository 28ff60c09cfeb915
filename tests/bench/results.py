"""What was measured: samples by quantity and runtime, kept as JSON."""

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

OURS = "podwright"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something to measure; less is better."""

    measure: str
    title: str
    unit: str
    part: float | None = None
    """The budget: at most this part of what containerd takes."""
    most: float | None = None
    """The budget where it is a figure of its own."""
    size: int = 0
    """How many pods or containers there were, where that varies."""

    @property
    def budget(self) -> str:
        """For the report."""
        if self.most is not None:
            return f"≤ {self.most:g} {self.unit}"
        return f"≤ {self.part:.2g} ×" if self.part is not None else ""


@dataclass(slots=True)
class Found:
    """The samples of a quantity by runtime."""

    quantity: Quantity
    samples: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float | None:
        """Of a runtime, if it was measured."""
        return statistics.median(self.samples[name]) if self.samples.get(name) else None

    def p99(self, name: str) -> float | None:
        """The same at the slow end; of few samples the slowest."""
        samples = sorted(self.samples.get(name, []))
        return samples[min(len(samples) - 1, int(len(samples) * 0.99))] if samples else None

    @property
    def whole_title(self) -> str:
        """With the measure, and the size if there is one."""
        size = f", {self.quantity.size:,}" if self.quantity.size else ""
        return f"{self.quantity.measure}: {self.quantity.title}{size}"

    @property
    def ratio(self) -> float | None:
        """Ours to the other runtime's, of the medians."""
        ours, theirs = self.median(OURS), next((self.median(name) for name in self.samples if name != OURS), None)
        return ours / theirs if ours is not None and theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the budget is; None without one."""
        ours = self.median(OURS)
        if self.quantity.most is not None and ours is not None:
            return ours <= self.quantity.most
        return None if self.quantity.part is None or self.ratio is None else self.ratio <= self.quantity.part


class Results:
    """All that one run has found."""

    def __init__(self, about: Mapping[str, Any] | None = None) -> None:
        self.about: dict[str, Any] = dict(about or {})
        self._found: dict[tuple[str, str, int], Found] = {}

    def add(self, quantity: Quantity, runtime: str, *values: float) -> None:
        """Enters samples."""
        key = (quantity.measure, quantity.title, quantity.size)
        found = self._found.setdefault(key, Found(quantity))
        found.samples.setdefault(runtime, []).extend(round(value, 4) for value in values)

    def all(self) -> Sequence[Found]:
        """In the order in which they were first measured."""
        return list(self._found.values())

    def write(self, path: Path) -> None:
        """Writes everything to a file."""
        quantities = [{**asdict(found.quantity), "samples": found.samples} for found in self._found.values()]
        lines = ",\n".join("  " + json.dumps(quantity, ensure_ascii=False) for quantity in quantities)
        path.write_text(f'{{"about": {json.dumps(self.about)},\n"quantities": [\n{lines}\n]}}\n')

    @classmethod
    def read(cls, path: Path) -> "Results":
        """What `write` wrote."""
        document = json.loads(path.read_text())
        results = cls(document["about"])
        for entry in document["quantities"]:
            samples = entry.pop("samples")
            for runtime, values in samples.items():
                results.add(Quantity(**entry), runtime, *values)
        return results


def machine() -> dict[str, Any]:
    """Where this runs, and with which versions."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpus": os.cpu_count(),
        "cpu": _after("/proc/cpuinfo", "model name"),
        "memory_gib": round(int(_after("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
        **{program: _version(program) for program in ("crun", "runc", "conmon")},
    }


def _after(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "?"


def _version(program: str) -> str:
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return text.splitlines()[0].rpartition(" ")[2]
