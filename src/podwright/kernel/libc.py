"""System calls that the standard library of Python 3.11 lacks, with the kernel's own names and constants.

Each wrapper raises OSError with the file it was about. ctypes lets other threads run meanwhile.
"""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

# include/uapi/linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SHARED = 0x100000

MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOUNT_ATTR_IDMAP = 0x00100000
FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

# include/uapi/linux/sched.h
CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# include/uapi/linux/fcntl.h, openat2.h
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

# include/uapi/linux/inotify.h
IN_MOVED_TO = 0x80

# Numbers since 424 are the same on every architecture but alpha (scripts/syscall.tbl).
_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_OPENAT2 = 437
_NR_MOUNT_SETATTR = 442


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.syncfs.argtypes = (ctypes.c_int,)
_libc.inotify_init1.argtypes = (ctypes.c_int,)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, filename: str | None = None, filename2: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), filename, None, filename2)
    return result


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def mount(source: str | None, target: str, fstype: str | None, flags: int, data: str | None = None) -> None:
    """mount(2). A `data` of more than 4095 bytes is refused: the kernel would cut it off in silence (seen with
    overlayfs).
    """
    encoded = _bytes(data)
    if encoded is not None and len(encoded) > 4095:
        raise OSError(7, "mount options are longer than a page", target)
    _checked(_libc.mount(_bytes(source), _bytes(target), _bytes(fstype), flags, encoded), target, source)


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _checked(_libc.umount2(_bytes(target), flags), target)


def unshare(flags: int) -> None:
    """unshare(2), of the calling thread."""
    _checked(_libc.unshare(flags))


def setns(fd: int, nstype: int = 0) -> None:
    """setns(2), of the calling thread."""
    _checked(_libc.setns(fd, nstype))


def syncfs(fd: int) -> None:
    """syncfs(2): writes out the whole file system that `fd` lies on."""
    _checked(_libc.syncfs(fd))


def openat2(dirfd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2). Returns a file descriptor; O_CLOEXEC is added."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _checked(_libc.syscall(_NR_OPENAT2, dirfd, _bytes(path), ctypes.byref(how), ctypes.sizeof(how)), path)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2). Returns a file descriptor of a mount."""
    return _checked(_libc.syscall(_NR_OPEN_TREE, dirfd, _bytes(path), flags), path)


def move_mount(from_fd: int, to_path: str) -> None:
    """move_mount(2) of the mount behind a file descriptor of open_tree."""
    _checked(_libc.syscall(_NR_MOVE_MOUNT, from_fd, b"", AT_FDCWD, _bytes(to_path), MOVE_MOUNT_F_EMPTY_PATH), to_path)


def fsopen(fstype: str) -> int:
    """fsopen(2). Returns a file descriptor of a file system that is being configured."""
    return _checked(_libc.syscall(_NR_FSOPEN, _bytes(fstype), FSOPEN_CLOEXEC))


def fsconfig(fd: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """fsconfig(2). The kernel takes values of up to 255 bytes."""
    _checked(_libc.syscall(_NR_FSCONFIG, fd, command, _bytes(key), _bytes(value), 0), value)


def fsmount(fd: int) -> int:
    """fsmount(2) of a file system that was created. Returns a file descriptor for move_mount."""
    return _checked(_libc.syscall(_NR_FSMOUNT, fd, FSMOUNT_CLOEXEC, 0))


def mount_setattr(fd: int, *, attr_set: int, userns_fd: int = 0) -> None:
    """mount_setattr(2) of the mount behind a file descriptor."""
    attr = _MountAttr(attr_set, 0, 0, userns_fd)
    _checked(_libc.syscall(_NR_MOUNT_SETATTR, fd, b"", AT_EMPTY_PATH, ctypes.byref(attr), ctypes.sizeof(attr)))


def inotify_init1(flags: int) -> int:
    """inotify_init1(2). Returns a file descriptor."""
    return _checked(_libc.inotify_init1(flags))


def inotify_add_watch(fd: int, path: str, mask: int) -> int:
    """inotify_add_watch(2). Returns a watch descriptor."""
    return _checked(_libc.inotify_add_watch(fd, _bytes(path), mask), path)
