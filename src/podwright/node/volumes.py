"""The volumes of a pod on this machine: their tmpfs mounts, the parts of them that containers ask for, their end.

All functions block; they are for threads.
"""

import contextlib
import errno
import math
import os
import shutil
import stat
from collections.abc import Callable

from podwright.errors import InvalidArgument
from podwright.kernel import libc, mounts
from podwright.node.places import PodPlaces, in_memory
from podwright.pods import quantity
from podwright.pods.check import containers
from podwright.pods.facts import Facts
from podwright.pods.objects import Objects
from podwright.pods.schema import Pod, Volume
from podwright.pods.volumes import prepare


def set_up(facts: Facts, objects: Objects, places: PodPlaces) -> dict[str, str]:
    """Makes what is missing, or brings files up to date; returns host paths by the volumes' names.

    Raises InvalidArgument that names the field.
    """
    there: set[str] | None = None
    for index, volume in enumerate(facts.pod.spec.volumes):
        if not in_memory(volume):
            continue
        path = places.volume(volume)
        if there is None:
            there = {mount.mount_point for mount in mounts.list_mounts()}
        if os.path.realpath(path) not in there:
            os.makedirs(path, exist_ok=True)
            size = _size(facts.pod, volume, f"spec.volumes[{index}]")
            # Without nosuid and noexec, as the kubelet's: programs may be put into such a volume.
            libc.mount("tmpfs", path, "tmpfs", 0, f"size={size}" if size else None)
    return prepare(facts, objects, places)


def _size(pod: Pod, volume: Volume, where: str) -> int:
    """The bytes of a tmpfs: its limit, at most what the pod's containers may use of memory; 0: half the machine's."""
    limits = [container.resources.limits.get("memory") for _, container in containers(pod)]
    whole = [quantity.parse(limit, where) for limit in limits if limit is not None]
    sizes = [sum(whole)] if whole and len(whole) == len(limits) else []
    if volume.empty_dir is not None and volume.empty_dir.size_limit is not None:
        sizes.append(quantity.parse(volume.empty_dir.size_limit, f"{where}.emptyDir.sizeLimit"))
    return math.ceil(min(sizes)) if sizes else 0


def safe_sub_path(places: PodPlaces, names: dict[str, str], container: str) -> Callable[[str, str, int], str]:
    """How a part of a volume is given to a container that may change the volume meanwhile.

    The path is walked inside the volume (openat2 with RESOLVE_BENEATH), what is found is bound to a place of the
    node's own, and that is mounted: a symbolic link that is put there later leads nowhere (CVE-2017-1002101,
    CVE-2021-25741). `names` are the volumes' names by host path.
    """

    def bound(volume: str, below: str, index: int) -> str:
        if below.startswith("/") or ".." in below.split("/"):
            raise InvalidArgument(f'"{below}" leads out of the volume')
        target = places.sub_path(names[volume], container, index)
        fd = _open_beneath(volume, below)
        try:
            mounts.umount(target)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                os.makedirs(target, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
            mounts.bind(f"/proc/self/fd/{fd}", target)
        finally:
            os.close(fd)
        return target

    return bound


def _open_beneath(volume: str, below: str) -> int:
    """A descriptor of the path, whose missing directories are made. Raises InvalidArgument if it leads out."""
    flags = os.O_PATH | os.O_CLOEXEC
    resolve = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_MAGICLINKS
    here = os.open(volume, flags | os.O_DIRECTORY)
    try:
        parts = [part for part in below.split("/") if part not in {"", "."}]
        for end in range(1, len(parts) + 1):
            path = "/".join(parts[:end])
            with contextlib.suppress(FileExistsError):
                parent = libc.openat2(here, "/".join(parts[: end - 1]) or ".", flags, resolve=resolve)
                try:
                    os.mkdir(parts[end - 1], 0o750, dir_fd=parent)
                    owner = os.fstat(here)
                    os.chmod(parts[end - 1], stat.S_IMODE(owner.st_mode), dir_fd=parent)
                    os.chown(parts[end - 1], owner.st_uid, owner.st_gid, dir_fd=parent)
                finally:
                    os.close(parent)
            os.close(libc.openat2(here, path, flags, resolve=resolve))
        return libc.openat2(here, "/".join(parts) or ".", flags, resolve=resolve)
    except OSError as error:
        if error.errno in {errno.EXDEV, errno.ELOOP}:
            raise InvalidArgument(f'"{below}" leads out of the volume') from None
        raise InvalidArgument(f'"{below}": {(error.strerror or "").lower()}') from None
    finally:
        os.close(here)


def tear_down(path: str) -> None:
    """Removes a pod's directory with all mounts below it; hostPath volumes are none of it. Missing is a success."""
    mounts.umount_below(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
