"""Making the volumes of a pod, and bringing their files up to date. Owns no mounts of the host."""

import os
import stat
from typing import Protocol

from podwright.errors import InvalidArgument
from podwright.pods.facts import Facts
from podwright.pods.objects import Objects
from podwright.pods.schema import Volume
from podwright.pods.volumes import atomic
from podwright.pods.volumes.host_path import host_path
from podwright.pods.volumes.payload import payload


class Places(Protocol):
    """Where the volumes of a pod live."""

    def volume(self, volume: Volume) -> str:
        """The directory of a volume, which need not exist; in memory if it holds secrets or is to be there."""


def prepare(facts: Facts, objects: Objects, places: Places) -> dict[str, str]:
    """Makes the volumes, or finds them made; returns their host paths by name. Image volumes are not among them.

    Raises InvalidArgument that names the field.
    """
    paths = {}
    group = facts.pod.spec.security_context.fs_group
    for index, volume in enumerate(facts.pod.spec.volumes):
        where = f"spec.volumes[{index}]"
        if volume.host_path is not None:
            paths[volume.name] = host_path(volume.host_path, f"{where}.hostPath")
        elif volume.empty_dir is not None:
            paths[volume.name] = _directory(places.volume(volume), 0o777, group)
        elif (files := payload(volume, objects, facts, where)) is not None:
            paths[volume.name] = _directory(places.volume(volume), 0o755, group)
            atomic.write(paths[volume.name], files, group)
        elif volume.image is None:
            raise InvalidArgument(f"{where}: has no source that is served here")
    return paths


def _directory(path: str, mode: int, group: int | None) -> str:
    os.makedirs(path, exist_ok=True)
    os.chmod(path, mode)  # makedirs heeds the umask
    if group is not None:
        os.chown(path, -1, group)
        os.chmod(path, mode | stat.S_ISGID)
    return path
