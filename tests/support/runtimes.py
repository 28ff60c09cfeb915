"""Machines with a CRI runtime for tests of what speaks CRI: Podwright's own daemon, and Debian's containerd.

Both have the same small image, made here of Debian's static busybox; nothing is pulled from outside.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import grpc
import pytest

from podwright.control import v1 as control
from podwright.control.methods import METHODS
from support.node import Node

IMAGE = "localhost/podwright/busybox:1"
PAUSE = "localhost/podwright/pause:1"
KINDS = ("podwright", "containerd")


def archive(path: Path) -> None:
    """Writes a docker archive with both images."""
    busybox = _layer({"bin/busybox": Path(shutil.which("busybox") or "/bin/busybox").read_bytes()}, applets=True)
    pause = _layer({"init": Path(shutil.which("catatonit") or "/usr/bin/catatonit").read_bytes()})
    members: dict[str, bytes] = {}
    manifest = []
    for name, layer, config in (
        (IMAGE, busybox, {"Cmd": ["sh"], "Env": ["PATH=/bin"]}),
        (PAUSE, pause, {"Entrypoint": ["/init", "-P"]}),
    ):
        digest = sha256(layer).hexdigest()
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
        text = json.dumps(document).encode()
        config_name = f"{sha256(text).hexdigest()}.json"
        members |= {f"{digest}.tar": layer, config_name: text}
        manifest.append({"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}.tar"]})
    members["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def _layer(files: dict[str, bytes], *, applets: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "proc", "sys", "dev"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
        if applets:
            names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
            for name in names:
                if name != "busybox":
                    info = tarfile.TarInfo(f"bin/{name}")
                    info.type, info.linkname, info.mode = tarfile.LNKTYPE, "bin/busybox", 0o755
                    tar.addfile(info)
            for name, text in (("etc/passwd", "root:x:0:0::/:/bin/sh\n"), ("etc/group", "root:x:0:\n")):
                info = tarfile.TarInfo(name)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Podwright(Node):
    """A machine with our daemon."""

    endpoint = property(lambda self: f"unix://{self.socket}")

    def start_runtime(self) -> None:
        """Starts the daemon with the images."""
        self.start()
        path = self.directory / "images.tar"
        archive(path)
        load = METHODS["LoadImage"]
        with grpc.insecure_channel(f"unix:{self.socket}", options=[("grpc.default_authority", "localhost")]) as channel:
            call = channel.unary_unary(
                load.path,
                request_serializer=load.request.SerializeToString,
                response_deserializer=load.response.FromString,
            )
            call(control.LoadImageRequest(path=str(path)), timeout=30)
        path.unlink()


class Containerd(Node):
    """A machine with Debian's containerd 1.6, on runc."""

    endpoint = property(lambda self: f"unix://{self.directory}/containerd.sock")

    def start_runtime(self) -> None:
        """Starts containerd with the images."""
        config = self.directory / "containerd.toml"
        config.write_text(
            f"""
version = 2
root = "{self.directory}/containerd-root"
state = "{self.directory}/containerd-state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{self.directory}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{self.directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{self.cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""
        )
        with (self.directory / "containerd.log").open("ab") as log:
            self._containerd = subprocess.Popen(
                self.enter(["/usr/bin/containerd", "-c", str(config)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        self._wait_until_booted()
        path = self.directory / "images.tar"
        archive(path)
        ctr = ["ctr", "-a", f"{self.directory}/containerd.sock", "-n", "k8s.io", "images", "import", str(path)]
        self.run(*ctr)
        path.unlink()

    def _wait_until_booted(self) -> None:
        for _ in range(300):
            if "containerd successfully booted" in (self.directory / "containerd.log").read_text():
                return
            assert self._containerd.poll() is None, (self.directory / "containerd.log").read_text()
            time.sleep(0.1)  # containerd tells nobody but its log
        raise AssertionError("containerd did not boot")

    def close(self) -> None:
        """Ends everything inside; runc's shims die with the PID namespace."""
        super().close()
        self._containerd.wait(timeout=60)


@contextlib.contextmanager
def machine(kind: str) -> Iterator[Podwright | Containerd]:
    """A machine with a running runtime, for a `with` block."""
    if kind == "containerd" and shutil.which("containerd") is None:
        pytest.skip("containerd is not installed")
    made = Podwright() if kind == "podwright" else Containerd()
    try:
        made.start_runtime()
        yield made
    finally:
        made.close()
