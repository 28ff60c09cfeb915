"""The mounts that a container asks for."""

import os
from collections.abc import Callable, Mapping
from typing import Final

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.pods.environment import expand
from podwright.pods.schema import Container, Pod, VolumeMount

_PROPAGATION: Final = {
    "": v1.PROPAGATION_PRIVATE,
    "None": v1.PROPAGATION_PRIVATE,
    "HostToContainer": v1.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": v1.PROPAGATION_BIDIRECTIONAL,
}

SubPath = Callable[[str, str, int], str]
"""Makes a path below a volume safe to mount: (the volume's path, the path in it, the mount's index) -> host path."""


def inside(volume: str, below: str, _index: int) -> str:
    """The path of a directory or file in a volume, made if need be. Raises InvalidArgument if it leads out of it."""
    volume = os.path.realpath(volume)
    path = os.path.realpath(os.path.join(volume, below))
    if below.startswith("/") or ".." in below.split("/") or not f"{path}/".startswith(f"{volume}/"):
        raise InvalidArgument(f'"{below}" leads out of the volume')
    if not os.path.exists(path):
        os.makedirs(path, mode=0o755)
    return path


def mounts(
    pod: Pod,
    container: Container,
    volumes: Mapping[str, str],
    environment: Mapping[str, bytes],
    where: str,
    sub_path: SubPath = inside,
) -> list[v1.Mount]:
    """The mounts of a container; `volumes` are host paths by name. Raises InvalidArgument that names the field."""
    images = {volume.name: volume.image.reference for volume in pod.spec.volumes if volume.image is not None}
    found = []
    for index, wanted in enumerate(container.volume_mounts):
        path = f"{where}.volumeMounts[{index}]"
        below = wanted.sub_path or os.fsdecode(expand(wanted.sub_path_expr.encode(), environment))
        mount = v1.Mount(container_path=wanted.mount_path, readonly=wanted.read_only)
        if wanted.name in images:
            mount.image.image = mount.image.user_specified_image = images[wanted.name]
            mount.image_sub_path, mount.readonly = below, True
        elif below:
            try:
                mount.host_path = sub_path(volumes[wanted.name], below, index)
            except InvalidArgument as error:
                raise InvalidArgument(f"{path}.subPath: {error}") from None
        else:
            mount.host_path = volumes[wanted.name]
        mount.propagation = _PROPAGATION[wanted.mount_propagation]
        mount.recursive_read_only = _recursive_read_only(wanted, path)
        found.append(mount)
    return found


def _recursive_read_only(wanted: VolumeMount, where: str) -> bool:
    if wanted.recursive_read_only == "Enabled" and not wanted.read_only:
        raise InvalidArgument(f"{where}.recursiveReadOnly: Enabled needs readOnly")
    return wanted.recursive_read_only == "Enabled"
