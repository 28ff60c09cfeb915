"""Pulls of three shapes from a registry beside the runtime, each by a runtime that has nothing yet, onto a new disk.

A new ext4 for each, in a file: on one where many files were deleted a short while ago it takes up to ten times longer
to make some.
"""

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from bench import shapes
from bench.peers import Peer
from bench.pods import timed
from bench.results import Quantity
from bench.run import Bench
from podwright.cri import v1

PLACE = Path("build/bench")
"""On a real disk; images and their registry are kept there."""
PORT = 5000
DISK_BYTES = 12 << 30
MIB = 1 << 20
SAMPLE_SECONDS = 0.1

_REGISTRY = """
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage: {{ filesystem: {{ rootdirectory: {storage} }} }}
http: {{ addr: "127.0.0.1:{port}", secret: bench }}
"""


def measure(bench: Bench) -> None:
    """All shapes, in turns."""
    PLACE.mkdir(parents=True, exist_ok=True)
    storage = shapes.storage(PLACE, quick=bench.quick).resolve()
    for number, title in enumerate(shapes.shapes(quick=bench.quick)):
        for kind in bench.rounds(bench.kinds, bench.choose(3, 1)):
            peer = kind(bench.oci)
            try:
                with _disk(peer), _registry(peer, storage):
                    peer.start()
                    bench.note(peer)
                    _pull(bench, peer, title, number)
            finally:
                peer.close()


def _pull(bench: Bench, peer: Peer, title: str, number: int) -> None:
    times: dict[str, float] = {}
    cpu = peer.cpu_ms()
    with _peak(peer) as peak, timed(times, title):
        peer.client.pull_image(v1.ImageSpec(image=f"127.0.0.1:{PORT}/{shapes.REPOSITORY}:{number}"))
    bench.add(Quantity("pull", title, "s", part=None if bench.quick else 0.5), peer, times[title] / 1000)
    bench.add(Quantity("pull", f"CPU of {title}", "s"), peer, (peer.cpu_ms() - cpu) / 1000)
    bench.add(Quantity("pull", f"peak of memory (PSS) at {title}", "MiB"), peer, max(peak) / MIB)


@contextlib.contextmanager
def _disk(peer: Peer) -> Iterator[None]:
    """A new file system for what the runtime keeps. The loop device goes with the machine's mounts."""
    target = peer.machine.directory / "disk"
    target.mkdir()
    with tempfile.NamedTemporaryFile(dir=PLACE, prefix="disk-") as backing:
        backing.truncate(DISK_BYTES)
        options = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-i", "8192"]
        subprocess.run(["mkfs.ext4", *options, backing.name], check=True)
        peer.machine.run("mount", "-o", "loop", str(Path(backing.name).resolve()), str(target))
        peer.disk = target
        yield


@contextlib.contextmanager
def _registry(peer: Peer, storage: Path) -> Iterator[None]:
    """Debian's registry on the runtime's machine; its work is not the runtime's."""
    config = peer.machine.directory / "registry.yml"
    config.write_text(_REGISTRY.format(storage=storage, port=PORT))
    command = peer.machine.enter_beside(["docker-registry", "serve", str(config)])
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as registry:
        try:
            peer.machine.run("bash", "-c", f"until (exec 3<>/dev/tcp/127.0.0.1/{PORT}) 2>&-; do sleep 0.05; done")
            yield
        finally:
            for process, program in peer.processes():
                if program == "docker-registry":
                    peer.machine.run("kill", "-KILL", process.name)
            registry.wait()


@contextlib.contextmanager
def _peak(peer: Peer) -> Iterator[list[int]]:
    """What the runtime needs meanwhile, looked at again and again."""
    samples = [sum(peer.memory().values())]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            samples.append(sum(peer.memory().values()))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield samples
    finally:
        ended.set()
        looking.join()
