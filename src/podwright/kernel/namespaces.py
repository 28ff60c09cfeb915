"""Namespaces without a process: made in a throw-away thread and kept by bind mounts (pins).

A pin is a file with a namespace mounted on it; setns and OCI runtimes take its path. A user namespace needs a
process, since a thread of a larger program may not make one (unshare(2), EINVAL): then a `cat` serves for the moment.
"""

import contextlib
import errno
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from podwright.kernel import libc, mounts

Kind = Literal["net", "ipc", "uts", "user", "pid", "mnt"]

CLONE_FLAGS: dict[Kind, int] = {
    "net": libc.CLONE_NEWNET,
    "ipc": libc.CLONE_NEWIPC,
    "uts": libc.CLONE_NEWUTS,
    "user": libc.CLONE_NEWUSER,
    "pid": libc.CLONE_NEWPID,
    "mnt": libc.CLONE_NEWNS,
}

_SIOCGIFFLAGS = 0x8913  # include/uapi/linux/sockios.h
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


class SysctlError(OSError):
    """The kernel has no such parameter, or refuses its value."""


@dataclass(frozen=True, slots=True)
class IdMapping:
    """A range of ids: `container_id` and the following inside are `host_id` and the following outside."""

    container_id: int
    host_id: int
    length: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a set of namespaces shall be like."""

    pins: Mapping[Kind, str]
    """Which kinds, and the paths to pin them at; the files are made."""
    hostname: str = ""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    uids: Sequence[IdMapping] = ()
    gids: Sequence[IdMapping] = ()


def create(wanted: Wanted) -> None:
    """Makes the namespaces, brings their loopback interface up, applies hostname and sysctls, and pins them."""
    for path in wanted.pins.values():
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    if "user" in wanted.pins:
        with _process_in_new(list(wanted.pins)) as pid:
            _write_map(f"/proc/{pid}/uid_map", wanted.uids)
            _write_map(f"/proc/{pid}/gid_map", wanted.gids)
            _pin(wanted.pins, f"/proc/{pid}/ns")
        mounts.in_thread_of_its_own(lambda: _join_and_configure(wanted))
    else:
        mounts.in_thread_of_its_own(lambda: _unshare_and_configure(wanted))


def unpin(path: str) -> None:
    """Removes a pin; the namespace ends with its last process. Succeeds if there is none."""
    mounts.umount(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def pin(source: str, path: str) -> None:
    """Pins the namespace behind `source`, a file of /proc/<pid>/ns, at `path`."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    mounts.bind(source, path)


def is_pinned(path: str) -> bool:
    """Whether a namespace is pinned at `path`: the file is one of nsfs, not merely what a pin was mounted on."""
    try:
        return os.stat(path).st_dev == os.stat("/proc/self/ns/net").st_dev
    except (FileNotFoundError, NotADirectoryError):
        return False


def join(path: str, kind: Kind) -> None:
    """Moves the calling thread into the namespace behind `path`. Use it in a thread of its own."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc.setns(fd, CLONE_FLAGS[kind])
    finally:
        os.close(fd)


def _unshare_and_configure(wanted: Wanted) -> None:
    flags = 0
    for kind in wanted.pins:
        flags |= CLONE_FLAGS[kind]
    libc.unshare(flags)
    _configure(wanted)
    _pin(wanted.pins, "/proc/thread-self/ns")


def _join_and_configure(wanted: Wanted) -> None:
    for kind, path in wanted.pins.items():
        if kind != "user":
            join(path, kind)
    _configure(wanted)


def _configure(wanted: Wanted) -> None:
    if "net" in wanted.pins:
        _loopback_up()
    if "uts" in wanted.pins and wanted.hostname:
        socket.sethostname(wanted.hostname)
    for name, value in wanted.sysctls.items():
        write_sysctl(name, value)


def write_sysctl(name: str, value: str) -> None:
    """Sets a kernel parameter in the namespaces of the calling thread. `name` has dots or slashes between its parts.

    As in sysctl(8), the separator that comes first counts, so that net/ipv4/conf/eth0.1/forwarding can be named.
    Raises SysctlError with the name in place of a path.
    """
    dot, slash = name.find("."), name.find("/")
    path = name if slash != -1 and (dot == -1 or slash < dot) else name.translate(str.maketrans("./", "/."))
    try:
        fd = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise SysctlError(error.errno, error.strerror, name) from None


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _pin(pins: Mapping[Kind, str], directory: str) -> None:
    for kind, path in pins.items():
        mounts.bind(f"{directory}/{kind}", path)


def _write_map(path: str, mappings: Sequence[IdMapping]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, "".join(f"{m.container_id} {m.host_id} {m.length}\n" for m in mappings).encode())
    finally:
        os.close(fd)


@contextlib.contextmanager
def _process_in_new(kinds: Sequence[Kind]) -> Iterator[int]:
    """A process in new namespaces of `kinds`; it ends with the block."""
    command = ["unshare", *(f"--{kind}" for kind in kinds), "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(b"\n")
            if process.stdout.read(1) != b"\n":  # cat echoes once it runs, and then unshare has done its work
                raise OSError(f"{' '.join(command)} ended with status {process.wait()}")
            yield process.pid
        finally:
            process.stdin.close()


def enter_mount_namespace(path: str) -> None:
    """Moves the whole process, which must have one thread yet, into the mount namespace pinned at `path`, made if need
    be.

    The new namespace is a copy of the caller's: where that has shared mounts, both keep telling one another of new
    ones. `path` must lie on a private mount, else the pin would show inside the namespace that it holds, which the
    kernel refuses.
    """
    if not os.path.exists(path) or not mounts.is_mount_point(path):
        _make_mount_namespace(path)
    join(path, "mnt")


def _make_mount_namespace(path: str) -> None:
    """Makes and pins a copy of the mount namespace.

    The kernel lets a mount namespace be mounted only in an older one (mnt_ns_loop in fs/namespace.c), and takes that
    from their ids. Since Linux 6.18 each CPU has a batch of ids, so a new namespace may have a lower one than ours,
    and the mount fails with EINVAL; not if it is made on the CPU that ours was made on.
    """
    cpus = os.sched_getaffinity(0)
    outside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for cpu in sorted(cpus):
            os.sched_setaffinity(0, {cpu})
            libc.unshare(libc.CLONE_NEWNS)
            inside = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            libc.setns(outside, libc.CLONE_NEWNS)
            try:
                pin(f"/proc/self/fd/{inside}", path)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            else:
                return
            finally:
                os.close(inside)
        raise OSError(errno.EINVAL, "the new mount namespace cannot be pinned from any CPU", path)
    finally:
        os.close(outside)
        os.sched_setaffinity(0, cpus)
