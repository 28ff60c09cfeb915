"""The program that unpacks one layer: a process of its own, without privileges over anything but one directory.

Started by unpack.py as `python -I -S -c …`, with one argument: a Job in JSON. It makes the directory its root, lowers
its limits and its priority, then reads the blob, inflates it in one thread and writes files in the other; both digests
are made on the way. For a layer on top of others its root is their overlay, in a mount namespace that ends with it.

    stdin    how many bytes of the blob are there, 8 bytes little-endian each time; its end before the blob's ends us
    stdout   lines of JSON: {"read": bytes} now and then; at the end {"done": {…}} or {"error": {…}}

Imports are few: starting takes as long as a thousand small files.
"""

import errno
import json
import os
import queue
import resource
import stat
import sys
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

from podwright.errors import InvalidArgument
from podwright.images.apply import LayerWriter, Limits, NeedsParents
from podwright.images.inflate import PIECE, Blob, Readable, open_layer
from podwright.images.usage import usage
from podwright.images.whiteouts import Alone, OnTop
from podwright.wire.tar import TarReader

_REPORT_EVERY = 4 << 20
_QUEUED_PIECES = 8
_MEMORY = 1 << 30
_OPEN_FILES = 1024
_CPU_SECONDS = 3600
_NICE = 5
"""Less than the daemon, whose answers are waited for."""
_MOST_IMPLICIT = 1 << 20
"""Bytes of the names of implicit directories that are reported; a layer with more is taken to need those below it."""
_FAULTS_OF_THE_LAYER = frozenset(
    {
        errno.EEXIST, errno.EFBIG, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.EMFILE, errno.EMLINK,
        errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EPERM, errno.ERANGE, errno.E2BIG,
    }
)  # fmt: skip


class Job(NamedTuple):
    """What to unpack, and where."""

    blob: int
    """An open file."""
    offset: int
    size: int
    algorithm: str
    """Of the blob's digest; the other is sha256."""
    diff_algorithm: str
    directory: str
    base: str
    below: list[str]
    """Directories of the layers below, relative to `base`, the topmost first; none for a layer that stands alone."""
    largest: int
    """Bytes of all files."""
    entries: int


def main() -> None:
    """Does the job in argv and reports. Ends with status 0 also if the layer is at fault."""
    job = Job(**json.loads(sys.argv[-1]))
    try:
        _report(done=_unpack(job))
    except NeedsParents as error:
        _report(error={"kind": "parents", "message": str(error)})
    except (InvalidArgument, RecursionError) as error:
        _report(error={"kind": "invalid", "message": str(error)})
    except MemoryError:
        _report(error={"kind": "invalid", "message": f"it takes more than {_MEMORY >> 20} MiB of memory"})
    except OSError as error:
        _report(error={"kind": _kind(error), "message": str(error)})


def _kind(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "full"
    return "invalid" if error.errno in _FAULTS_OF_THE_LAYER else "internal"


def _unpack(job: Job) -> dict[str, Any]:
    blob = Blob(job.blob, job.offset, job.size, job.algorithm, _wait)
    layer = open_layer(blob)  # imports what it needs, so before the root changes
    whiteouts = OnTop() if job.below else Alone()
    _confine(job)
    writer = LayerWriter(Limits(job.largest, job.entries), whiteouts)
    inflating = _Inflating(blob, layer, job.diff_algorithm)
    reader = TarReader()
    for piece in inflating.pieces():
        writer.take(reader.feed(piece))
    reader.close()
    writer.finish()
    found = {"digest": blob.digest(), "diff_id": inflating.diff_id()}
    if isinstance(whiteouts, OnTop):
        return found  # what the layer takes is not to be seen from in here
    size, inodes, content = usage("/")
    implicit = sorted(writer.implicit)
    many = sum(map(len, implicit)) > _MOST_IMPLICIT
    return {
        **found,
        "size": size,
        "inodes": inodes,
        "content": content,
        "opaque": whiteouts.hides_all,
        "implicit": [] if many else [path.decode(errors="surrogateescape") for path in implicit],
        "many_implicit": many,
    }


def _confine(job: Job) -> None:
    os.chroot(_stacked(job) if job.below else job.directory)
    os.chdir("/")
    os.umask(0)
    os.nice(_NICE)
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_FSIZE, job.largest),
    ):
        _, hard = resource.getrlimit(limit)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowered, lowered))


def _stacked(job: Job) -> str:
    """Mounts the directory on top of those below; seen by nobody else."""
    from podwright.kernel import libc, mounts  # noqa: PLC0415  rarely needed

    place = os.path.dirname(job.directory)
    merged, work = f"{place}/merged", f"{place}/work"
    os.mkdir(merged)
    os.mkdir(work)
    _make_like(job.directory, os.path.join(job.base, job.below[0]))
    libc.unshare(libc.CLONE_NEWNS)
    libc.mount(None, "/", None, libc.MS_PRIVATE | libc.MS_REC)
    mounts.overlay(merged, base=job.base, lowerdirs=job.below, upperdir=job.directory, workdir=work)
    return merged


def _make_like(directory: str, model: str) -> None:
    """overlayfs shows the metadata of the topmost directory: the root shall stay as it is below."""
    root = os.stat(model)
    os.chown(directory, root.st_uid, root.st_gid)
    os.chmod(directory, stat.S_IMODE(root.st_mode))
    for name in os.listxattr(model):
        if not name.startswith("trusted.overlay."):
            os.setxattr(directory, name, os.getxattr(model, name))
    os.utime(directory, ns=(root.st_atime_ns, root.st_mtime_ns))


class _Inflating:
    """A thread that reads and inflates ahead of the one that writes files."""

    def __init__(self, blob: Blob, layer: Readable, algorithm: str) -> None:
        import hashlib  # noqa: PLC0415  loaded by inflate.py already

        self._hash = hashlib.new(algorithm)
        self._algorithm = algorithm
        self._blob, self._layer = blob, layer
        self._pieces: queue.Queue[bytes | BaseException] = queue.Queue(_QUEUED_PIECES)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def pieces(self) -> Iterator[bytes]:
        """The uncompressed layer. Raises what went wrong in the thread."""
        while piece := self._pieces.get():
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def diff_id(self) -> str:
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def _work(self) -> None:
        reported = 0
        try:
            while data := self._layer.read(PIECE):
                self._hash.update(data)
                self._pieces.put(data)
                if self._blob.position >= reported + _REPORT_EVERY:
                    reported = self._blob.position
                    _report(read=reported)
            self._blob.digest()
            self._pieces.put(b"")
        except BaseException as error:  # noqa: BLE001  raised again in the main thread
            self._pieces.put(error)


def _wait(_there: int) -> int:
    """Waits for more of the blob; the daemon says how far it is."""
    news = os.read(0, 4096)
    if not news:
        os._exit(2)  # nobody wants the layer any more
    return int.from_bytes(news[-8:], "little")


def _report(**line: object) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")
