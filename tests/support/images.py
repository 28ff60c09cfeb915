"""An image store for a test, without a daemon around it, and a way to look at what is in it."""

import asyncio
import hashlib
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from podwright.images.layers import EMPTY_LAYERS
from podwright.images.model import Image, ImageSettings
from podwright.images.service import Images
from podwright.kernel import libc, mounts
from podwright.kernel.run import prepare_loop
from podwright.state.store import Store

T = TypeVar("T")

QUICK: dict[str, Any] = {"answer_seconds": 2.0, "connect_seconds": 2.0, "stall_seconds": 0.4, "first_pause": 0.01}
"""Settings for impatient tests."""


async def until(condition: Callable[[], object]) -> None:
    """Waits for something that tells nobody when it happens."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


class Shelf:
    """A directory with an image store and its database, which can be opened again and again."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.root = directory / "images"
        self.settings: dict[str, Any] = {"registry_directories": (), "credential_files": (), **QUICK, **settings}

    def run(self, scenario: Callable[[Images], Awaitable[T]]) -> T:
        """Opens the store, runs the scenario, closes it."""

        async def whole() -> T:
            prepare_loop()
            store = Store(str(self.directory / "state.db"))
            images = Images(store, ImageSettings(root=str(self.root), **self.settings))
            await images.start()
            try:
                return await scenario(images)
            finally:
                await images.close()
                store.close()

        return asyncio.run(whole())

    def pull(self, name: str) -> Image:
        """Pulls an image; returns it."""

        async def scenario(images: Images) -> Image:
            found = images.find(await images.pull(name))
            assert found is not None
            return found

        return self.run(scenario)

    def tree(self, image: Image) -> "Tree":
        """What a container of the image would see."""
        with self.mounted(image) as root:
            return tree(root)

    @contextmanager
    def mounted(self, image: Image) -> Iterator[str]:
        """The image's root file system, for a `with` block. Mounts on this machine, in a directory of its own."""
        target = tempfile.mkdtemp(dir=self.directory)
        lowerdirs = list(dict.fromkeys((*image.layers, *EMPTY_LAYERS)))
        mounts.overlay(target, base=str(self.root / "layers"), lowerdirs=lowerdirs)
        try:
            yield target
        finally:
            libc.umount2(target)
            os.rmdir(target)

    def left_over(self) -> list[str]:
        """Files and directories of the store that belong to no layer."""
        found = [
            str(path.relative_to(self.root)) for name in ("staging", "partial") for path in (self.root / name).iterdir()
        ]
        return sorted(found)

    def layers(self) -> list[str]:
        """Directories of layers, but the empty one."""
        return sorted(name for name in os.listdir(self.root / "layers") if name != "0")


@dataclass(frozen=True)
class Node:
    """A file, as far as an image describes it."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    content: str
    """A digest, or the target of a symbolic link, or the numbers of a device."""
    xattrs: tuple[tuple[str, bytes], ...]
    links: tuple[str, ...]
    """All its names, if there are several."""


Tree = dict[str, Node]


def tree(root: str) -> Tree:
    """All files below a directory, and the directory itself as "."."""
    names: dict[int, list[str]] = {}
    found: dict[str, os.stat_result] = {}
    for directory, directories, files in os.walk(root):
        for name in [".", *directories, *files] if directory == root else [*directories, *files]:
            path = os.path.normpath(os.path.join(directory, name))
            relative = os.path.relpath(path, root)
            found[relative] = os.lstat(path)
            if not stat.S_ISDIR(found[relative].st_mode):
                names.setdefault(found[relative].st_ino, []).append(relative)
    return {
        relative: _node(os.path.join(root, relative), seen, names.get(seen.st_ino, []))
        for relative, seen in sorted(found.items())
    }


def _node(path: str, seen: os.stat_result, names: list[str]) -> Node:
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}
    kind = kinds.get(stat.S_IFMT(seen.st_mode), "device")
    content = ""
    if kind == "file":
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    elif kind == "symlink":
        content = os.readlink(path)
    elif kind == "device":
        content = f"{os.major(seen.st_rdev)}:{os.minor(seen.st_rdev)}"
    xattrs = [
        (name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
    ]
    return Node(
        kind, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, seen.st_mtime_ns, content,
        tuple(sorted(xattrs)), tuple(sorted(names)) if len(names) > 1 else (),
    )  # fmt: skip
