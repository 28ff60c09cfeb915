"""The two runtimes, each on a machine of its own (support/node.py), with the same OCI runtime and network plugins.

Each daemon runs in a cgroup of its own beside that of its pods, so the processor time of a runtime with all that it
starts is one figure of the kernel's, whatever else the machine does.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import grpc

from podwright.client import Client
from podwright.control import methods as control_methods
from podwright.control import v1 as control
from podwright.cri import v1
from podwright.errors import PodwrightError
from podwright.kernel import cgroups
from support.archives import write_busybox_archive, write_pause_archive
from support.node import Node

IMAGE = "docker.io/library/busybox:1"
PAUSE_IMAGE = "registry.k8s.io/pause:3.6"

Oci = Literal["crun", "runc"]

READY_SECONDS = 60.0


class _Machine(Node):
    """A node whose daemon is accounted for in a cgroup of its own. It takes precedence over what else goes on."""

    def __init__(self) -> None:
        super().__init__()
        try:
            hierarchies = cgroups.detect()
            self.accounts = {hierarchies.directory(name, f"{self.cgroup}/daemon") for name in ("cpu", "cpuacct")}
            for directory in self.accounts:
                os.makedirs(directory)
            weight, most = ("cpu.weight", 10_000) if hierarchies.mode == "v2" else ("cpu.shares", 65_536)
            Path(f"{hierarchies.directory('cpu', self.cgroup)}/{weight}").write_text(str(most))
        except BaseException:
            self.close()
            raise

    def enter(self, command: Sequence[str]) -> list[str]:
        join = "".join(f"echo 0 >{directory}/cgroup.procs && " for directory in self.accounts)
        return ["sh", "-c", f'{join}exec "$@"', "sh", *self.enter_beside(command)]

    def enter_beside(self, command: Sequence[str]) -> list[str]:
        """For what shall not count as the daemon's."""
        return super().enter(command)


class Peer(ABC):
    """A runtime under test."""

    name: str
    programs: frozenset[str]
    """What runs all the time, besides the containers."""

    def __init__(self, oci: Oci) -> None:
        self.oci = oci
        self.machine = _Machine()
        self.disk = self.machine.directory
        """Where images and containers are kept; may be changed before the start."""
        self.client = Client(f"unix://{self.socket}")
        self._hierarchies = cgroups.detect()

    # the daemon

    @property
    def socket(self) -> Path:
        """Where it answers."""
        return self.machine.socket

    @abstractmethod
    def configure(self) -> None:
        """Writes the daemon's configuration."""

    @abstractmethod
    def launch(self) -> None:
        """Starts the daemon."""

    @abstractmethod
    def kill(self) -> None:
        """kill -9 of the daemon."""

    @abstractmethod
    def load_image(self, archive: Path) -> None:
        """Puts the image of a docker archive into the store."""

    @abstractmethod
    def version(self) -> str:
        """For the report."""

    def start(self) -> None:
        """Starts the daemon and waits until it says that it is ready for pods."""
        self.configure()
        self.launch()
        deadline = time.monotonic() + READY_SECONDS
        while not (self._listens() and self._ready()):
            assert time.monotonic() < deadline, f"{self.name} does not get ready: see {self.machine.directory}"
            time.sleep(0.002)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            return sock.connect_ex(str(self.socket)) == 0

    def _ready(self) -> bool:
        self.client.close()
        self.client = Client(f"unix://{self.socket}")  # a new one, since the old one pauses before it dials again
        try:
            conditions = self.client.status().status.conditions
        except PodwrightError:
            return False
        return all(condition.status for condition in conditions)

    def close(self) -> None:
        """Ends everything and removes it."""
        self.client.close()
        self.machine.close()

    # what it costs

    @property
    def pods_cgroup(self) -> str:
        """Where the cgroups of pods are, as if a kubelet had made it."""
        return f"{self.machine.cgroup}/pods"

    def cpu_ms(self) -> float:
        """Processor time of the daemon, of all that it has ever started, and of the pods."""
        directory = self._hierarchies.directory("cpuacct", self.machine.cgroup)
        if self._hierarchies.mode == "v2":
            text = Path(f"{directory}/cpu.stat").read_text()
            return int(text.split("usage_usec ", 1)[1].split()[0]) / 1e3
        return int(Path(f"{directory}/cpuacct.usage").read_text()) / 1e6

    def processes(self) -> Iterator[tuple[Path, str]]:
        """Directory in /proc and program of each process of the machine but its holder."""
        for process in Path(f"/proc/{self.machine.holder}/root/proc").iterdir():
            with contextlib.suppress(OSError):  # it has ended; or it is a thread of the kernel, which has no program
                if process.name.isdigit() and process.name != "1":
                    yield process, os.path.basename(os.readlink(process / "exe"))

    def memory(self) -> dict[str, int]:
        """Bytes (PSS) by program: the daemon, and what it keeps beside each container."""
        found: dict[str, int] = {}
        for process, program in self.processes():
            with contextlib.suppress(OSError, IndexError):  # it has ended
                if program in self.programs:
                    rollup = (process / "smaps_rollup").read_text()
                    found[program] = found.get(program, 0) + 1024 * int(rollup.split("\nPss:", 1)[1].split()[0])
        return found


class Podwright(Peer):
    """This project's runtime."""

    name = "podwright"
    programs = frozenset({os.path.basename(os.path.realpath("/proc/self/exe")), "conmon", "init"})

    def configure(self) -> None:
        self.machine.root = self.disk / "root"
        self.machine.write_config(f'[runtime]\ndefault_handler = "{self.oci}"\n', log_level="info")

    def launch(self) -> None:
        self.machine.start()

    def kill(self) -> None:
        self.machine.kill()

    def load_image(self, archive: Path) -> None:
        method = control_methods.METHODS["LoadImage"]
        with grpc.insecure_channel(f"unix:{self.socket}") as channel:
            load = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
            load(control.LoadImageRequest(path=str(archive)), timeout=60)

    def version(self) -> str:
        return self.client.version().runtime_version


def checkout(directory: Path) -> type[Peer]:
    """Podwright as it is in another checkout, to compare a change with what was before."""

    class Other(Podwright):
        name = "other"

        def launch(self) -> None:
            self.machine.environment["PYTHONPATH"] = str(directory / "src")
            super().launch()

    return Other


_CONTAINERD_CONFIG = """
version = 2
root = "{disk}/root"
state = "{directory}/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{oci}"
        SystemdCgroup = false
"""


class Containerd(Peer):
    """Debian's containerd with its CRI plugin, as a kubelet's node has it."""

    name = "containerd"
    programs = frozenset({"containerd", "containerd-shim-runc-v2", "pause"})

    def __init__(self, oci: Oci) -> None:
        super().__init__(oci)
        self._daemon: subprocess.Popen[bytes] | None = None
        if self._hierarchies.mode == "hybrid":
            # As Podwright does for itself: crun refuses hybrid hosts unless it sees no controllers in the v2 part.
            self.machine.run("mount", "--bind", "/dev/null", f"{self._hierarchies.unified}/cgroup.controllers")

    def configure(self) -> None:
        program = shutil.which(self.oci)
        assert program, f"{self.oci} is not installed"
        config = _CONTAINERD_CONFIG.format(
            directory=self.machine.directory,
            disk=self.disk,
            socket=self.socket,
            pause=PAUSE_IMAGE,
            cni=self.machine.cni,
            oci=program,
        )
        (self.machine.directory / "containerd.toml").write_text(config)

    def launch(self) -> None:
        command = ["containerd", "--config", str(self.machine.directory / "containerd.toml")]
        with (self.machine.directory / "containerd.log").open("ab") as log:
            self._daemon = subprocess.Popen(
                self.machine.enter(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        assert self._daemon is not None
        (daemon,) = (process for process, program in self.processes() if program == "containerd")
        self.machine.run("kill", "-KILL", daemon.name)
        self._daemon.wait(timeout=60)

    def load_image(self, archive: Path) -> None:
        self.machine.run(
            "ctr", "--address", str(self.socket), "--namespace", "k8s.io", "images", "import", str(archive)
        )

    def version(self) -> str:
        return self.client.version().runtime_version

    def close(self) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self.kill()  # before its cgroup is removed
        super().close()


def start_peer(peer: Peer) -> None:
    """Starts a runtime and makes it ready for pods of IMAGE."""
    peer.start()
    busybox, pause = peer.machine.directory / "busybox.tar", peer.machine.directory / "pause.tar"
    write_busybox_archive(busybox, [IMAGE])
    write_pause_archive(pause, [PAUSE_IMAGE])
    for archive in (busybox, pause):
        peer.load_image(archive)
    _wait_for_image(peer, IMAGE)
    _wait_for_image(peer, PAUSE_IMAGE)


def _wait_for_image(peer: Peer, name: str) -> None:
    """containerd's CRI side hears of images that others bring by and by."""
    deadline = time.monotonic() + READY_SECONDS
    while not peer.client.image_status(v1.ImageSpec(image=name)).HasField("image"):
        assert time.monotonic() < deadline, f"{peer.name} does not see {name}"
        time.sleep(0.01)


@contextlib.contextmanager
def peers(oci: Oci, kinds: Sequence[type[Peer]] = (Podwright, Containerd)) -> Iterator[list[Peer]]:
    """Fresh runtimes for a `with` block."""
    with contextlib.ExitStack() as stack:
        made = []
        for kind in kinds:
            made.append(kind(oci))
            stack.callback(made[-1].close)
            start_peer(made[-1])
        yield made
