"""Small images out of Debian's busybox and catatonit, as archives that `ctr images import` reads."""

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BUSYBOX = "/bin/busybox"
PAUSE = "/usr/bin/catatonit"
"""Static; with -P it waits and reaps, as process 1 of a pod."""


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def _layer() -> bytes:
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("proc", 0o555), ("sys", 0o555)):
            member = tarfile.TarInfo(directory)
            member.type, member.mode = tarfile.DIRTYPE, mode
            archive.addfile(member)
        _add(archive, "bin/busybox", Path(BUSYBOX).read_bytes(), 0o755)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        _add(archive, "etc/group", b"root:x:0:\n")
        for applet in applets:
            member = tarfile.TarInfo(f"bin/{applet}")
            member.type, member.linkname = tarfile.LNKTYPE, "bin/busybox"
            member.mode = 0o755  # of the file that all share
            if applet != "busybox":
                archive.addfile(member)
    return packed.getvalue()


def write_busybox_archive(path: Path, names: Sequence[str], command: Sequence[str] = ("sh",)) -> None:
    """Writes a docker archive with one image under these names."""
    _write_image(path, names, _layer(), {"Cmd": list(command), "Env": ["PATH=/bin"]})


def write_pause_archive(path: Path, names: Sequence[str]) -> None:
    """Writes a docker archive with an image that waits, for runtimes that want one in each pod."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        _add(archive, "pause", Path(PAUSE).read_bytes(), 0o755)
    _write_image(path, names, packed.getvalue(), {"Entrypoint": ["/pause", "-P"]})


def _write_image(path: Path, names: Sequence[str], layer: bytes, runs: Mapping[str, Any]) -> None:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": runs,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    packed = json.dumps(config).encode()
    digest = hashlib.sha256(packed).hexdigest()
    manifest = [{"Config": f"{digest}.json", "RepoTags": list(names), "Layers": ["layer.tar"]}]
    with tarfile.open(path, mode="w") as archive:
        _add(archive, f"{digest}.json", packed)
        _add(archive, "layer.tar", layer)
        _add(archive, "manifest.json", json.dumps(manifest).encode())
