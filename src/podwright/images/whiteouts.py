"""What a layer hides of the layers below it, in the two ways in which a layer is written (apply.py).

Alone       the layer's directory holds only what is its own: whiteouts take overlayfs's form, a character device 0:0
            and trusted.overlay.opaque
OnTop       the writer's root is an overlay of the layers below: what is hidden is removed, and the kernel notes it

A whiteout is about the layers below (OCI image specification, layer.md): what its own layer has of that name stays,
whichever comes first.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import Protocol

_OPAQUE_XATTR = b"trusted.overlay.opaque"
_ORIGIN_XATTR = b"trusted.overlay.origin"


class Whiteouts(Protocol):
    """Paths are below the root, without leading slash; b"" is the root itself."""

    owned_by_root: bool
    """Whether new files belong to root; directories of layers below may have the setgid bit."""

    def hide(self, directory: int, parent: bytes, name: bytes) -> None:
        """Hides one file; `directory` is a descriptor of its parent."""

    def hide_all(self, path: bytes) -> None:
        """Hides all that a directory has below."""

    def uncovered(self, path: bytes) -> None:
        """A directory takes the place of a whiteout."""

    def made(self, path: bytes) -> None:
        """The layer itself has this file or directory."""

    def gone(self, path: bytes) -> None:
        """What the layer had at and below `path` was removed: it is something else now."""

    def entered(self, path: bytes, directory: int) -> None:
        """Something will be made or removed in this directory, for the first time or again."""

    def finish(self) -> None:
        """All entries are there."""


class Alone:
    """For a layer in a directory of its own."""

    owned_by_root = True

    def __init__(self) -> None:
        self._opaque: set[bytes] = set()
        self._hiding: set[bytes] = set()

    @property
    def hides_all(self) -> bool:
        """Whether nothing of the layers below is seen."""
        return b"" in self._opaque

    def hide(self, directory: int, parent: bytes, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=directory)
            self._hiding.add(parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                self._opaque.add(_joined(parent, name))

    def hide_all(self, path: bytes) -> None:
        self._opaque.add(path)

    def uncovered(self, path: bytes) -> None:
        self._opaque.add(path)

    def made(self, path: bytes) -> None:
        pass

    def gone(self, path: bytes) -> None:
        if self._opaque:
            inside = path + b"/"
            self._opaque -= {other for other in self._opaque if other == path or other.startswith(inside)}

    def entered(self, path: bytes, directory: int) -> None:
        pass

    def finish(self) -> None:
        for path in self._opaque:
            os.setxattr(b"/" + path, _OPAQUE_XATTR, b"y")
        for path in self._hiding:
            # Lists of a directory that only one layer has show its whiteouts, unless it seems to have been merged
            # ("copied up, but origin unknown" in fs/overlayfs/namei.c).
            with contextlib.suppress(FileNotFoundError):
                os.setxattr(b"/" + path, _ORIGIN_XATTR, b"")


class OnTop:
    """For a layer on top of its parents. Directories that it only passes through keep their times."""

    owned_by_root = False

    def __init__(self) -> None:
        self._made: set[bytes] = set()
        """What the layer has, and the directories above it, without symbolic links in them."""
        self._times: dict[bytes, tuple[int, int]] = {}

    def hide(self, directory: int, parent: bytes, name: bytes) -> None:
        real = _joined(_real(parent), name)
        with contextlib.suppress(FileNotFoundError):
            if real in self._made:
                self._clear(real)
            else:
                remove(directory, name)

    def hide_all(self, path: bytes) -> None:
        self._clear(_real(path))

    def _clear(self, path: bytes) -> None:
        """Removes from a directory what the layer has not made; does nothing to other files."""
        if not stat.S_ISDIR(os.lstat(b"/" + path).st_mode):
            return
        with opened(b"/" + path) as directory:
            for child in os.listdir(directory):
                name = os.fsencode(child)
                if _joined(path, name) in self._made:
                    self._clear(_joined(path, name))
                else:
                    remove(directory, name)

    def uncovered(self, path: bytes) -> None:
        pass

    def made(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        path = _joined(_real(parent), name)
        while path and path not in self._made:
            self._made.add(path)
            path = path.rpartition(b"/")[0]

    def gone(self, path: bytes) -> None:
        parent, _, name = path.rpartition(b"/")
        path = _joined(_real(parent), name)
        self._made -= {other for other in self._made if other == path or other.startswith(path + b"/")}

    def entered(self, path: bytes, directory: int) -> None:
        found = os.fstat(directory)
        self._times.setdefault(_real(path), (found.st_atime_ns, found.st_mtime_ns))

    def finish(self) -> None:
        for path, times in self._times.items():
            with contextlib.suppress(FileNotFoundError):
                os.utime(b"/" + path, ns=times, follow_symlinks=False)


def remove(parent: int, name: bytes) -> None:
    """As rm -r. Recursive: a tree too deep for it ends the worker, and with it the layer."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=parent)
        return
    with opened(name, parent) as directory:
        for child in os.listdir(directory):
            remove(directory, os.fsencode(child))
    os.rmdir(name, dir_fd=parent)


@contextlib.contextmanager
def opened(name: bytes, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a directory that is no symbolic link."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)


def _joined(parent: bytes, name: bytes) -> bytes:
    return parent + b"/" + name if parent else name


def _real(path: bytes) -> bytes:
    return os.path.realpath(b"/" + path)[1:]
