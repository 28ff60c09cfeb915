"""Writing a layer's entries as files, in the form that overlayfs stacks.

Runs in the worker program (worker.py), whose root is the layer's own directory: no name, link or symbolic link can lead
out of it, whatever it says. Single-threaded; changes its working directory.

Rules:
- Names are taken as if the layer were the root: "../../x" is "/x" (as containerd and umoci do).
- An entry replaces an earlier one of its name; only directories are kept and get the new metadata.
- Directories get their metadata last, since what is made in them changes it.
- What a layer hides of those below it is for whiteouts.py.
- A layer may leave out directories that a layer below it has. They are made here and reported as implicit; whoever
  stacks the layers has to find out whether that is right (stack.py).
"""

import errno
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from podwright.errors import InvalidArgument
from podwright.images.whiteouts import Whiteouts, opened, remove
from podwright.wire import tar
from podwright.wire.tar import Content, Entry

WHITEOUT = b".wh."
_OPAQUE = b".wh..wh..opq"
_AUFS = b".wh..wh."
_OVERLAY_XATTR = b"trusted.overlay."
_USER_XATTR = b"user."
_MOST_OPEN = 400
_DIRECTORY_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LATEST_NS = (1 << 63) - 1


class NeedsParents(Exception):
    """The layer means files of the layers below it, such as the target of a hard link; it cannot be written alone."""


class Limits(NamedTuple):
    """What a layer may have at most."""

    bytes: int
    entries: int


class LayerWriter:
    """Takes what a TarReader gives, in its order; `finish` it."""

    def __init__(self, limits: Limits, whiteouts: Whiteouts) -> None:
        self._limits = limits
        self._whiteouts = whiteouts
        self._bytes = 0
        self._entries = 0
        self._directories: dict[bytes, Entry] = {}
        self.implicit: set[bytes] = {b""}
        """Directories that no entry described, without leading slash; b"" is the root."""
        self._open: dict[bytes, int] = {}
        self._file: tuple[int, Entry] | None = None
        self._end = 0
        """Of the file that is being written."""

    def take(self, events: Iterator[Entry | Content]) -> None:
        """Writes entries and contents. Raises InvalidArgument, NeedsParents, OSError."""
        for event in events:
            if isinstance(event, Content):
                self._write(event)
            else:
                self._begin(event)

    def finish(self) -> None:
        """Closes the last file and gives directories their metadata."""
        self._end_file()
        self._whiteouts.finish()
        for path, entry in self._directories.items():
            self._finish_directory(path, entry)
        self._close_directories()

    # ---- one entry

    def _begin(self, entry: Entry) -> None:
        if self._file:
            self._end_file()
        self._entries += 1
        if self._entries > self._limits.entries:
            raise InvalidArgument(f"the layer has more than {self._limits.entries} entries")
        path = _normal(entry.name)
        if path.startswith(_AUFS) and path != _OPAQUE:
            return  # aufs's own bookkeeping
        parent, _, name = path.rpartition(b"/")
        try:
            if name.startswith(WHITEOUT):
                self._whiteout(parent, name)
            elif not name:
                self._root(entry)
            else:
                try:
                    self._make(entry, path, self._directory(parent), name)
                except FileExistsError:
                    self._remove(path, self._directory(parent), name, by_directory=entry.kind == tar.DIRECTORY)
                    self._make(entry, path, self._directory(parent), name)
                self._whiteouts.made(path)
        except OSError as error:
            error.filename = entry.name.decode(errors="backslashreplace")
            raise

    def _make(self, entry: Entry, path: bytes, parent: int, name: bytes) -> None:
        """Makes the file, or begins it. Raises FileExistsError if something else has its name."""
        match entry.kind:
            case tar.FILE:
                self._begin_file(entry, parent, name)
            case tar.DIRECTORY:
                self._make_directory(entry, path, parent, name)
            case tar.LINK:
                _make_link(entry, path, parent, name)
            case _:
                _make_special(entry, parent, name, owned=self._whiteouts.owned_by_root)

    def _root(self, entry: Entry) -> None:
        if entry.kind != tar.DIRECTORY:
            raise InvalidArgument("the layer's root is no directory")
        self._directories[b""] = entry
        self.implicit.discard(b"")

    def _make_directory(self, entry: Entry, path: bytes, parent: int, name: bytes) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise
            self.implicit.discard(path)
        self._directories[path] = entry

    def _begin_file(self, entry: Entry, parent: int, name: bytes) -> None:
        if entry.size > self._limits.bytes:
            raise self._too_large()
        self._file = (os.open(name, _FILE_FLAGS, entry.mode & 0o777, dir_fd=parent), entry)
        self._end = 0

    def _write(self, content: Content) -> None:
        assert self._file is not None
        self._bytes += len(content.data)
        if self._bytes > self._limits.bytes:
            raise self._too_large()
        fd, offset, data = self._file[0], content.offset, content.data
        while data:
            written = os.pwrite(fd, data, offset)
            data, offset = data[written:], offset + written
        self._end = offset

    def _end_file(self) -> None:
        if self._file is None:
            return
        fd, entry = self._file
        self._file = None
        try:
            if entry.size != self._end:  # it ends in a hole
                os.ftruncate(fd, entry.size)
            _describe(fd, entry, owned=self._whiteouts.owned_by_root)
        finally:
            os.close(fd)

    def _too_large(self) -> InvalidArgument:
        return InvalidArgument(f"the layer has more than {self._limits.bytes} bytes")

    def _whiteout(self, parent: bytes, name: bytes) -> None:
        hidden = name[len(WHITEOUT) :]
        if hidden in (b"", b".", b".."):
            raise InvalidArgument(f"{parent + b'/' + name!r} is no whiteout of anything")
        directory = self._directory(parent)
        if name == _OPAQUE:
            self._whiteouts.hide_all(parent)
        else:
            self._whiteouts.hide(directory, parent, hidden)

    # ---- directories

    def _directory(self, path: bytes) -> int:
        """A file descriptor of the directory, made if it is missing. Symbolic links are followed, inside."""
        fd = self._open.get(path)
        if fd is None:
            try:
                fd = os.open(b"/" + path, _DIRECTORY_FLAGS)
            except (FileNotFoundError, NotADirectoryError):
                fd = self._make_missing(path)
            if len(self._open) >= _MOST_OPEN:
                self._close_directories()
            self._open[path] = fd
            self._whiteouts.entered(path, fd)
        return fd

    def _make_missing(self, path: bytes) -> int:
        real = os.path.realpath(b"/" + path)
        so_far = b""
        for component in real.split(b"/")[1:]:
            so_far += b"/" + component
            try:
                os.mkdir(so_far, 0o755)
            except FileExistsError:
                found = os.lstat(so_far)
                if not _is_whiteout(found):
                    continue
                os.unlink(so_far)
                os.mkdir(so_far, 0o755)
                self._whiteouts.uncovered(so_far[1:])
            self.implicit.add(so_far[1:])
            self._whiteouts.made(so_far[1:])
        return os.open(real, _DIRECTORY_FLAGS)

    def _close_directories(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()

    def _finish_directory(self, path: bytes, entry: Entry) -> None:
        parent, _, name = path.rpartition(b"/")
        try:
            with opened(name, self._directory(parent)) if name else opened(b"/") as fd:
                os.fchmod(fd, entry.mode)
                _describe(fd, entry, owned=self._whiteouts.owned_by_root)
        except (FileNotFoundError, NotADirectoryError):
            pass  # a later entry took its place

    def _remove(self, path: bytes, parent: int, name: bytes, *, by_directory: bool) -> None:
        """Makes room for another entry of this name."""
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        remove(parent, name)
        self._whiteouts.gone(path)
        if by_directory and _is_whiteout(found):
            self._whiteouts.uncovered(path)
        if stat.S_ISDIR(found.st_mode):
            inside = path + b"/"
            gone = {other for other in self._directories if other == path or other.startswith(inside)}
            self._directories = {other: entry for other, entry in self._directories.items() if other not in gone}
            self.implicit -= {other for other in self.implicit if other == path or other.startswith(inside)}
        if stat.S_ISDIR(found.st_mode) or stat.S_ISLNK(found.st_mode):
            self._close_directories()  # names may mean other directories now


def _normal(name: bytes) -> bytes:
    """A path below the root, without leading slash; ".." never leads above it. b"" is the root itself."""
    parts = name.split(b"/")
    if b"" in parts or b"." in parts or b".." in parts:
        kept: list[bytes] = []
        for part in parts:
            if part == b"..":
                del kept[-1:]
            elif part not in (b"", b"."):
                kept.append(part)
        return b"/".join(kept)
    return name


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _make_link(entry: Entry, path: bytes, parent: int, name: bytes) -> None:
    target = _normal(entry.target)
    if target == path:
        return
    try:
        os.link(b"/" + target, name, dst_dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        raise NeedsParents(f"{entry.name!r} is a hard link to {entry.target!r}, which the layer has not") from None


def _make_special(entry: Entry, parent: int, name: bytes, *, owned: bool) -> None:
    """Symbolic links, pipes and devices; `owned` as for _describe."""
    match entry.kind:
        case tar.SYMLINK:
            os.symlink(entry.target, name, dir_fd=parent)
        case tar.FIFO:
            os.mkfifo(name, entry.mode, dir_fd=parent)
        case tar.CHARACTER:
            os.mknod(name, stat.S_IFCHR | entry.mode, os.makedev(entry.major, entry.minor), dir_fd=parent)
        case _:
            os.mknod(name, stat.S_IFBLK | entry.mode, os.makedev(entry.major, entry.minor), dir_fd=parent)
    if entry.uid or entry.gid or not owned:
        os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
    if entry.xattrs:
        os.fchdir(parent)
        _set_xattrs(name, entry)
    os.utime(name, ns=_times(entry), dir_fd=parent, follow_symlinks=False)


def _describe(fd: int, entry: Entry, *, owned: bool) -> None:
    """Owner, then mode (which chown(2) changes), then xattrs (file capabilities, which it removes), then times.

    `owned` says that root is the owner now.
    """
    if entry.uid or entry.gid or not owned:
        os.fchown(fd, entry.uid, entry.gid)
    if entry.mode & 0o7000:
        os.fchmod(fd, entry.mode)
    if entry.xattrs:
        _set_xattrs(fd, entry)
    os.utime(fd, ns=_times(entry))


def _set_xattrs(target: int | bytes, entry: Entry) -> None:
    """Sets what the file system can hold. overlayfs's own are not for images to set."""
    for key, value in entry.xattrs.items():
        if key.startswith(_OVERLAY_XATTR):
            continue
        try:
            if isinstance(target, int):
                os.setxattr(target, key, value)
            else:
                os.setxattr(target, key, value, follow_symlinks=False)
        except OSError as error:
            # user.* is for files and directories only
            if error.errno != errno.ENOTSUP and not (error.errno == errno.EPERM and key.startswith(_USER_XATTR)):
                raise


def _times(entry: Entry) -> tuple[int, int]:
    mtime = max(-_LATEST_NS, min(entry.mtime_ns, _LATEST_NS))
    return (mtime if entry.atime_ns is None else max(-_LATEST_NS, min(entry.atime_ns, _LATEST_NS))), mtime
