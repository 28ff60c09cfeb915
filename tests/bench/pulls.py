"""Pulls from a local registry, Podwright and containerd side by side: wall time, processor time, memory.

    python tests/bench/pulls.py [--rounds 3] [--only small] [--quick] [--directory /var/tmp]

Each pull has a machine of its own (support/node.py) and a fresh file system: ext4 takes up to ten times longer to make
files where many were deleted a short while ago, so neither pulls again and again on one, nor the leftovers of other
programs, would measure a runtime. The file systems lie in files below --directory, on its disk.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from podwright.client import Client
from podwright.errors import PodwrightError
from podwright.kernel import cgroups
from podwright.testing.images import Entry, directory, file, image, layer, write_layout
from support.node import Node
from support.registry import Skopeo, docker_registry

PORT = 5000
REFERENCE = f"127.0.0.1:{PORT}/bench"
SAMPLE_SECONDS = 0.05


def incompressible(seed: int, size: int) -> bytes:
    """Bytes that gzip halves: as much noise as text."""
    noise = random.Random(seed).randbytes(size // 2)
    text = b"".join(b"line %d of a file with words in it\n" % number for number in range(size // 70))
    return b"".join(noise[start : start + 512] + text[start : start + 512] for start in range(0, size // 2, 512))


def cases(*, quick: bool) -> Mapping[str, Sequence[Sequence[Entry]]]:
    """The images, as entries of their layers. Sizes are about what the blobs have, gzipped."""
    part = 10 if quick else 1
    megabyte = (1 << 20) // part
    small = [directory(f"d{number:03}") for number in range(300)]
    numbers = range(30_000 // part)
    small += [file(f"d{number // 100:03}/f{number:05}", incompressible(number, 8192)) for number in numbers]
    return {
        "20 layers of 20 MB": [
            [file(f"layer-{number}", incompressible(number, 36 * megabyte))] for number in range(20)
        ],
        "1 layer of 500 MB": [[file(f"part-{number}", incompressible(number, 90 * megabyte)) for number in range(10)]],
        "30,000 small files": [small],
    }


def build(place: Path, *, quick: bool) -> Path:
    """Fills the storage of a registry with the images; returns its directory."""
    store = place / ("registry-quick" if quick else "registry")
    if store.exists():
        return store
    unfinished = place / "registry-new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with docker_registry(unfinished) as host:
        for number, (name, layers) in enumerate(cases(quick=quick).items()):
            print(f"building {name}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory(dir=place) as layout:
                write_layout(f"{layout}/oci", {"1": image(*(layer(*entries) for entries in layers))})
                Skopeo(host).copy(f"oci:{layout}/oci:1", f"bench:{number}")
    unfinished.rename(store)
    return store


# ---- runtimes


class Machine(Node):
    """A node with a cgroup that takes precedence, so that what else goes on here disturbs no measurement."""

    def __init__(self) -> None:
        super().__init__()
        hierarchies = cgroups.detect()
        self.group = hierarchies.directory("cpu", f"{self.cgroup}/bench")
        os.makedirs(self.group)
        name, weight = ("cpu.weight", "10000") if hierarchies.mode == "v2" else ("cpu.shares", "65536")
        Path(hierarchies.directory("cpu", self.cgroup), name).write_text(weight)

    def enter(self, command: Sequence[str]) -> list[str]:
        join = f'echo 0 >{self.group}/cgroup.procs && exec "$@"'
        return ["sh", "-c", join, "sh", *super().enter(command)]


class Podwright:
    """This project's runtime."""

    name = "podwright"

    def __init__(self, machine: Machine, disk: Path) -> None:
        machine.root = disk / "root"
        machine.write_config()
        machine.start()
        self.endpoint = f"unix://{machine.socket}"
        self.pid = machine.daemon


_CONTAINERD = """
version = 2
root = "{disk}/root"
state = "{disk}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{disk}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


class Containerd:
    """Debian's containerd with its CRI plugin."""

    name = "containerd"

    def __init__(self, machine: Machine, disk: Path) -> None:
        socket = machine.directory / "containerd.sock"
        config = machine.directory / "containerd.toml"
        config.write_text(_CONTAINERD.format(disk=disk, socket=socket))
        with open(machine.directory / "containerd.log", "wb") as log:
            outer = subprocess.Popen(machine.enter(["containerd", "--config", str(config)]), stdout=log, stderr=log)
        self.endpoint = f"unix://{socket}"
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "containerd does not get ready"
            time.sleep(0.05)
        (child,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        self.pid = int(child)

    def _answers(self) -> bool:
        try:
            with Client(self.endpoint, timeout=5) as cri:
                cri.list_images()
        except PodwrightError:
            return False
        return True


# ---- measuring


@dataclass
class Memory(threading.Thread):
    """Looks at the memory (PSS) of a daemon and of all below it, again and again; keeps the peaks, in bytes."""

    pid: int
    daemon_peak: int = 0
    whole_peak: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        while not self.ended.wait(SAMPLE_SECONDS):
            daemon = pss(self.pid)
            self.daemon_peak = max(self.daemon_peak, daemon)
            self.whole_peak = max(self.whole_peak, daemon + sum(map(pss, descendants(self.pid))))


def pss(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return 1024 * int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("\nPss:", 1)[1].split()[0])
    return 0


def descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def cpu(pid: int) -> float:
    """Seconds of processor time of a process and of all its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def fresh_disk(machine: Machine, place: Path) -> Iterator[Path]:
    """A new ext4 of the machine's own."""
    backing, target = place / f"disk-{machine.name}", machine.directory / "disk"
    target.mkdir()
    with open(backing, "wb") as output:
        output.truncate(12 << 30)
    subprocess.run(
        ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-i", "8192", backing], check=True
    )
    machine.run("mount", "-o", "loop", str(backing), str(target))
    try:
        yield target
    finally:
        backing.unlink()  # the loop device goes with the machine's mounts


def measure(kind: type[Podwright] | type[Containerd], number: int, store: Path, place: Path) -> dict[str, float]:
    """One pull."""
    machine = Machine()
    try:
        with fresh_disk(machine, place) as disk:
            config = machine.directory / "registry.yml"
            config.write_text(
                f"version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {store} }} }}\n"
                f'http: {{ addr: "127.0.0.1:{PORT}", secret: bench }}\n'
            )
            registry = subprocess.Popen(
                machine.enter(["docker-registry", "serve", str(config)]),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            runtime = kind(machine, disk)
            machine.run("bash", "-c", f"until (exec 3<>/dev/tcp/127.0.0.1/{PORT}) 2>&-; do sleep 0.05; done")
            memory = Memory(runtime.pid)
            memory.start()
            before, began = cpu(runtime.pid), time.monotonic()
            with Client(runtime.endpoint, timeout=600) as cri:
                cri.pull_image(f"{REFERENCE}:{number}")
            found = {"seconds": time.monotonic() - began, "cpu": cpu(runtime.pid) - before}
            memory.ended.set()
            memory.join()
            registry.kill()
        return {**found, "daemon": memory.daemon_peak / 1e6, "whole": memory.whole_peak / 1e6}
    finally:
        machine.close()
        registry.wait()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Pulls, Podwright and containerd side by side.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases with this in their names")
    parser.add_argument("--runtime", choices=("podwright", "containerd"), help="only this one")
    parser.add_argument("--quick", action="store_true", help="a tenth of the bytes")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp/podwright-bench"))
    parser.add_argument("--json", type=Path, help="write all samples here")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    store = build(options.directory, quick=options.quick)
    samples: dict[str, dict[str, list[dict[str, float]]]] = {}
    kinds = [kind for kind in (Podwright, Containerd) if options.runtime in (None, kind.name)]
    names = list(cases(quick=True))
    for turn in range(options.rounds):
        for number, name in enumerate(names):
            for kind in kinds if turn % 2 == 0 else reversed(kinds):
                if options.only in name:
                    found = measure(kind, number, store, options.directory)
                    samples.setdefault(name, {}).setdefault(kind.name, []).append(found)
                    shown = ", ".join(f"{key} {value:.2f}" for key, value in found.items())
                    print(f"{name}, {kind.name}: {shown}", file=sys.stderr, flush=True)
    if options.json:
        options.json.write_text(json.dumps(samples, indent=1))
    print(f"{'image':20} {'runtime':11} {'wall s':>8} {'CPU s':>8} {'daemon MB':>10} {'all MB':>8}")
    for name, by_runtime in samples.items():
        for runtime, found_all in by_runtime.items():
            median = {key: statistics.median(one[key] for one in found_all) for key in found_all[0]}
            print(
                f"{name:20} {runtime:11} {median['seconds']:8.2f} {median['cpu']:8.2f} "
                f"{median['daemon']:10.0f} {median['whole']:8.0f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
