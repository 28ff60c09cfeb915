"""Mounts: making, finding and removing them."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from podwright.kernel import libc

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/self/mountinfo (proc(5))."""

    mount_id: int
    parent_id: int
    root: str
    mount_point: str
    options: frozenset[str]
    shared: bool
    slave: bool
    fstype: str
    source: str


def list_mounts(pid: int | str = "thread-self") -> list[Mount]:
    """All mounts that the process, or else the calling thread, sees, in the order of the kernel's list."""
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        return [_parse(line) for line in lines]


def _parse(line: str) -> Mount:
    left, right = line.rstrip("\n").split(" - ", 1)
    mount_id, parent_id, _device, root, mount_point, options, *propagation = left.split(" ")
    fstype, source, _super_options = (right + "  ").split(" ", 2)
    return Mount(
        mount_id=int(mount_id),
        parent_id=int(parent_id),
        root=_unescape(root),
        mount_point=_unescape(mount_point),
        options=frozenset(options.split(",")),
        shared=any(field.startswith("shared:") for field in propagation),
        slave=any(field.startswith("master:") for field in propagation),
        fstype=fstype,
        source=_unescape(source),
    )


def _unescape(text: str) -> str:
    """Undoes the kernel's escapes: space, tab, newline and backslash are three octal digits after a backslash."""
    if "\\" not in text:
        return text
    head, *parts = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts)


def mount_of(path: str) -> Mount:
    """The mount that `path`, which must exist and hold no symbolic link, lies on: the last one with the longest mount
    point.
    """
    found: Mount | None = None
    for mount in list_mounts():
        point = mount.mount_point.rstrip("/")
        inside = path == mount.mount_point or path.startswith(point + "/")
        if inside and (found is None or len(point) >= len(found.mount_point.rstrip("/"))):
            found = mount
    if found is None:
        raise OSError(errno.ENOENT, "no mount holds it", path)
    return found


def is_mount_point(path: str) -> bool:
    """Whether something is mounted right at `path`."""
    return any(mount.mount_point == path for mount in list_mounts())


def bind(source: str, target: str, *, recursive: bool = False, readonly: bool = False) -> None:
    """Shows `source`, a file or directory, at the existing `target`."""
    recursion = libc.MS_REC if recursive else 0
    libc.mount(source, target, None, libc.MS_BIND | recursion)
    if readonly:
        libc.mount(None, target, None, libc.MS_REMOUNT | libc.MS_BIND | libc.MS_RDONLY)


def tmpfs(target: str, *, size: int, mode: int) -> None:
    """A new tmpfs of at most `size` bytes at the existing directory `target`."""
    flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC
    libc.mount("shm", target, "tmpfs", flags, f"mode={mode:o},size={size}")


def overlay(target: str, *, base: str, lowerdirs: Sequence[str], upperdir: str = "", workdir: str = "") -> None:
    """An overlayfs at `target`; read-only without `upperdir`. `lowerdirs` are relative to `base`, the topmost first.

    Relative names keep hundreds of layers within the one page of options that mount(2) takes; they are resolved by a
    thread of its own, whose working directory is `base`. What is longer takes fsconfig(2), which knows `lowerdir+`
    since Linux 6.8.
    """
    writable = [("upperdir", upperdir), ("workdir", workdir)] if upperdir else []
    data = ",".join(f"{key}={value}" for key, value in [("lowerdir", ":".join(lowerdirs)), *writable])

    def mount() -> None:
        libc.unshare(libc.CLONE_FS)
        os.chdir(base)
        if len(os.fsencode(data)) < os.sysconf("SC_PAGE_SIZE"):
            libc.mount("overlay", target, "overlay", 0 if upperdir else libc.MS_RDONLY, data)
        else:
            _configured(target, "overlay", [*(("lowerdir+", name) for name in lowerdirs), *writable])

    in_thread_of_its_own(mount)


def try_overlay(target: str, *, base: str, lowerdirs: Sequence[str], upperdir: str, workdir: str) -> None:
    """Mounts such an overlayfs and writes to it, in a mount namespace that ends with the attempt. Raises OSError."""

    def attempt() -> None:
        libc.unshare(libc.CLONE_NEWNS)
        libc.mount(None, "/", None, libc.MS_PRIVATE | libc.MS_REC)
        overlay(target, base=base, lowerdirs=lowerdirs, upperdir=upperdir, workdir=workdir)
        os.mkdir(f"{target}/probe")

    in_thread_of_its_own(attempt)


def _configured(target: str, fstype: str, options: Iterable[tuple[str, str]]) -> None:
    """Mounts a file system option by option."""
    fd = libc.fsopen(fstype)
    try:
        for key, value in options:
            libc.fsconfig(fd, libc.FSCONFIG_SET_STRING, key, value)
        libc.fsconfig(fd, libc.FSCONFIG_CMD_CREATE)
        made = libc.fsmount(fd)
    finally:
        os.close(fd)
    try:
        libc.move_mount(made, target)
    finally:
        os.close(made)


def make_private(path: str) -> None:
    """Makes `path` a private mount point, by binding it to itself if it is none. Does nothing if it is one already.

    OCI runtimes make the mount that holds a root file system private; where volumes lie on the same mount they would
    lose their propagation (seen with crun and runc).
    """
    mounts = [mount for mount in list_mounts() if mount.mount_point == path]
    if not mounts:
        bind(path, path, recursive=True)
    elif not mounts[-1].shared:
        return
    libc.mount(None, path, None, libc.MS_PRIVATE)


def make_shared(path: str) -> None:
    """Makes the mount at `path` and all below it shared, as systemd does with / at boot."""
    libc.mount(None, path, None, libc.MS_SHARED | libc.MS_REC)


def umount(path: str) -> None:
    """Removes everything mounted at `path`, busy or not. Succeeds if nothing is mounted there or the path does not
    exist.
    """
    while True:
        try:
            libc.umount2(path, libc.MNT_DETACH | libc.UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # not a mount point, not there
                return
            raise


def umount_below(directory: str) -> None:
    """Removes all mounts at and below `directory`, the last made first."""
    inside = [
        m.mount_point for m in list_mounts() if m.mount_point == directory or m.mount_point.startswith(directory + "/")
    ]
    for point in reversed(inside):
        umount(point)


def idmapped_bind(source: str, target: str, userns: str) -> None:
    """Shows `source` at `target` with owners mapped as the user namespace file `userns` maps them (Linux 5.12)."""
    tree = libc.open_tree(libc.AT_FDCWD, source, libc.OPEN_TREE_CLONE | libc.OPEN_TREE_CLOEXEC)
    try:
        namespace = os.open(userns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc.mount_setattr(tree, attr_set=libc.MOUNT_ATTR_IDMAP, userns_fd=namespace)
        finally:
            os.close(namespace)
        libc.move_mount(tree, target)
    finally:
        os.close(tree)


def in_thread_of_its_own(work: Callable[[], T]) -> T:
    """Runs `work` in a new thread, which may change what threads have of their own (namespaces, directory), and waits
    for it.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="podwright-kernel")
    thread.start()
    thread.join()
    if errors:
        with contextlib.ExitStack() as forget:
            forget.callback(errors.clear)  # breaks the cycle of error, traceback and this frame
            raise errors[0]
    return results[0]
