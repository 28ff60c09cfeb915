"""The program that writes a directory as a layer's archive: PAX, sorted by name, numeric owners, nothing of today.

Started by worker programs' door (unpack.py) as `python -I -S -c …` with a Job in JSON; the archive goes to a file, what
it is to stdout: {"digest": …, "size": …}. Standard library only.
"""

import hashlib
import json
import os
import stat
import sys
import tarfile
from typing import IO, NamedTuple, cast

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OPAQUE_XATTR = "trusted.overlay.opaque"
_LEFT_OUT = ("trusted.overlay.", "security.selinux")


class Job(NamedTuple):
    """What to write, and where to."""

    directory: str
    output: str
    layer: bool
    """Whether it is a layer in overlayfs's form, whose whiteouts become those of the OCI specification."""


class _Hashed:
    """A file that knows the digest and the length of what was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.hash, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._file.write(data)


def main() -> None:
    """Does the job in argv."""
    job = Job(**json.loads(sys.argv[-1]))
    os.nice(10)
    with open(job.output, "wb") as file:
        out = _Hashed(file)
        with tarfile.open(
            fileobj=cast("IO[bytes]", out), mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", bufsize=1 << 20
        ) as archive:
            _Packer(archive, layer=job.layer).pack(job.directory)
    print(json.dumps({"digest": f"sha256:{out.hash.hexdigest()}", "size": out.size}))


class _Packer:
    def __init__(self, archive: tarfile.TarFile, *, layer: bool) -> None:
        self._archive, self._layer = archive, layer
        self._seen: dict[tuple[int, int], str] = {}

    def pack(self, root: str) -> None:
        """Writes all of a directory, itself as "./", but nothing of other file systems mounted in it."""
        stack = [(root, "./")]
        device = os.lstat(root).st_dev
        while stack:
            path, name = stack.pop()
            self._add(path, name)
            found = os.lstat(path)
            if stat.S_ISDIR(found.st_mode) and found.st_dev == device:
                if self._layer and _xattrs(path).get(_OPAQUE_XATTR) == b"y":
                    self._archive.addfile(_empty(name + _OPAQUE, found))
                for child in sorted(os.listdir(path), reverse=True):
                    inside = os.path.join(path, child)
                    slash = "/" if stat.S_ISDIR(os.lstat(inside).st_mode) else ""
                    stack.append((inside, f"{name}{child}{slash}"))

    def _add(self, path: str, name: str) -> None:
        found = os.lstat(path)
        if self._layer and stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
            directory, _, base = name.rpartition("/")
            self._archive.addfile(_empty(f"{directory}/{_WHITEOUT}{base}", found))
            return
        info = _info(name, found)
        if info is None:
            return  # a socket: programs make their own
        identity = (found.st_dev, found.st_ino)
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if identity in self._seen:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, self._seen[identity], 0
                self._archive.addfile(info)
                return
            self._seen[identity] = name
        info.pax_headers = _pax(path, found)
        if info.issym():
            info.linkname = os.readlink(path)
        if not info.isreg():
            self._archive.addfile(info)
            return
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            self._archive.addfile(info, file)


def _info(name: str, found: os.stat_result) -> tarfile.TarInfo | None:
    kinds = {
        stat.S_IFREG: tarfile.REGTYPE,
        stat.S_IFDIR: tarfile.DIRTYPE,
        stat.S_IFLNK: tarfile.SYMTYPE,
        stat.S_IFIFO: tarfile.FIFOTYPE,
        stat.S_IFCHR: tarfile.CHRTYPE,
        stat.S_IFBLK: tarfile.BLKTYPE,
    }
    kind = kinds.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        return None
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = stat.S_IMODE(found.st_mode)
    info.uid, info.gid = found.st_uid, found.st_gid
    info.mtime = found.st_mtime_ns // 1_000_000_000
    info.size = found.st_size if kind == tarfile.REGTYPE else 0
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    return info


def _empty(name: str, like: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = 0o600, like.st_mtime_ns // 1_000_000_000
    return info


def _pax(path: str, found: os.stat_result) -> dict[str, str]:
    headers = {
        f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
        for name, value in _xattrs(path).items()
        if not name.startswith(_LEFT_OUT)
    }
    seconds, fraction = divmod(found.st_mtime_ns, 1_000_000_000)
    if fraction and seconds >= 0:
        headers["mtime"] = f"{seconds}.{fraction:09d}"
    return headers


def _xattrs(path: str) -> dict[str, bytes]:
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}
