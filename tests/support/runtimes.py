"""Machines with a CRI runtime for tests of what speaks CRI: Podwright's own daemon, and Debian's containerd."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

from bench.peers import PAUSE_IMAGE, Containerd, Peer, Podwright
from support.archives import write_busybox_archive, write_pause_archive

IMAGE = "localhost/podwright/busybox:1"
"""That of the examples."""
KINDS = ("podwright", "containerd")


@contextlib.contextmanager
def machine(kind: str) -> Iterator[Peer]:
    """A machine with a running runtime that has the images, for a `with` block."""
    if kind == "containerd" and shutil.which("containerd") is None:
        pytest.skip("containerd is not installed")
    peer: Peer = Podwright("crun") if kind == "podwright" else Containerd("runc")
    try:
        peer.start()
        directory = peer.machine.directory
        write_busybox_archive(directory / "busybox.tar", [IMAGE])
        write_pause_archive(directory / "pause.tar", [PAUSE_IMAGE])
        peer.load_image(directory / "busybox.tar")
        peer.load_image(directory / "pause.tar")
        yield peer
    finally:
        peer.close()
