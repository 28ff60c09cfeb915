"""Volumes of a pod as directories on this machine, and the mounts of its containers."""

import os
import stat
from collections.abc import Callable, Mapping
from typing import Final

from podwright.cli.pod.directory import PodDirectory
from podwright.cli.pod.environment import expand
from podwright.cli.pod.file import PodFile
from podwright.cli.pod.schema import Container, HostPath, KeyToPath, Pod, VolumeMount
from podwright.cri import v1
from podwright.errors import InvalidArgument

_PROPAGATION: Final = {
    "": v1.PROPAGATION_PRIVATE,
    "None": v1.PROPAGATION_PRIVATE,
    "HostToContainer": v1.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": v1.PROPAGATION_BIDIRECTIONAL,
}

_HOST_TYPES: Final[Mapping[str, tuple[str, Callable[[int], bool]]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "FileOrCreate": ("a file", stat.S_ISREG),
    "Socket": ("a socket", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


def prepare(pod: Pod, file: PodFile, directory: PodDirectory) -> dict[str, str]:
    """Makes the volumes; returns their host paths by name. Raises InvalidArgument that names the field."""
    paths = {}
    group = pod.spec.security_context.fs_group
    for index, volume in enumerate(pod.spec.volumes):
        where = f"spec.volumes[{index}]"
        if volume.empty_dir is not None:
            paths[volume.name] = path = directory.volume(volume.name, memory=volume.empty_dir.medium == "Memory")
            _make(path, 0o777, group)
        elif volume.host_path is not None:
            paths[volume.name] = _host_path(volume.host_path, f"{where}.hostPath")
        elif volume.config_map is not None:
            keys, source = file.config_maps.get(volume.config_map.name), volume.config_map
            keys = _present(keys, f'{where}.configMap: config map "{source.name}"', optional=source.optional)
            paths[volume.name] = path = directory.volume(volume.name)
            _write(path, keys, source.items, source.default_mode, group, f"{where}.configMap")
        elif volume.secret is not None:
            keys = file.secrets.get(volume.secret.secret_name)
            keys = _present(
                keys, f'{where}.secret: secret "{volume.secret.secret_name}"', optional=volume.secret.optional
            )
            paths[volume.name] = path = directory.volume(volume.name)
            _write(path, keys, volume.secret.items, volume.secret.default_mode, group, f"{where}.secret")
        else:
            raise InvalidArgument(f"{where}: has no source that `podwright run` serves")
    return paths


def mounts(
    container: Container, volumes: Mapping[str, str], environment: Mapping[str, bytes], where: str
) -> list[v1.Mount]:
    """The mounts that a container asks for. Raises InvalidArgument that names the field below `where`."""
    return [
        v1.Mount(
            container_path=wanted.mount_path,
            host_path=_source(wanted, volumes, environment, f"{where}.volumeMounts[{index}]"),
            readonly=wanted.read_only,
            propagation=_PROPAGATION[wanted.mount_propagation],
            recursive_read_only=wanted.recursive_read_only == "Enabled",
        )
        for index, wanted in enumerate(container.volume_mounts)
    ]


def _source(wanted: VolumeMount, volumes: Mapping[str, str], environment: Mapping[str, bytes], where: str) -> str:
    if wanted.name not in volumes:
        raise InvalidArgument(f'{where}.name: there is no volume "{wanted.name}"')
    if not wanted.mount_path.startswith("/"):
        raise InvalidArgument(f'{where}.mountPath: "{wanted.mount_path}" is not absolute')
    below = wanted.sub_path or os.fsdecode(expand(wanted.sub_path_expr.encode(), environment))
    if not below:
        return volumes[wanted.name]
    volume = os.path.realpath(volumes[wanted.name])
    path = os.path.realpath(os.path.join(volume, below))
    if below.startswith("/") or ".." in below.split("/") or not f"{path}/".startswith(f"{volume}/"):
        raise InvalidArgument(f'{where}.subPath: "{below}" leads out of the volume')
    if not os.path.exists(path):
        os.makedirs(path, mode=0o755)
    return path


def _make(path: str, mode: int, group: int | None) -> None:
    os.makedirs(path)
    os.chmod(path, mode)  # makedirs heeds the umask
    if group is not None:
        os.chown(path, -1, group)
        os.chmod(path, mode | stat.S_ISGID)


def _host_path(wanted: HostPath, where: str) -> str:
    path = wanted.path
    if not os.path.isabs(path) or ".." in path.split("/"):
        raise InvalidArgument(f'{where}.path: "{path}" is not an absolute path without ".."')
    if wanted.type == "DirectoryOrCreate":
        os.makedirs(path, mode=0o755, exist_ok=True)
    elif wanted.type == "FileOrCreate" and not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise InvalidArgument(f'{where}.path: "{path}": {(error.strerror or "").lower()}') from None
    if wanted.type:
        name, is_one = _HOST_TYPES[wanted.type]
        if not is_one(mode):
            raise InvalidArgument(f'{where}.path: "{path}" is not {name}')
    return path


def _present(keys: Mapping[str, bytes] | None, what: str, *, optional: bool) -> Mapping[str, bytes]:
    if keys is None and not optional:
        raise InvalidArgument(f"{what} is not in the file")
    return keys or {}


def _write(
    path: str, keys: Mapping[str, bytes], items: list[KeyToPath], mode: int, group: int | None, where: str
) -> None:
    """Writes the keys as files, or those of `items` under other names."""
    _make(path, 0o755, group)
    wanted = items or [KeyToPath(key=key, path=key) for key in keys]
    for index, item in enumerate(wanted):
        if item.key not in keys:
            raise InvalidArgument(f'{where}.items[{index}].key: there is no key "{item.key}"')
        if item.path.startswith("/") or ".." in item.path.split("/"):
            raise InvalidArgument(f'{where}.items[{index}].path: "{item.path}" leads out of the volume')
        target = os.path.join(path, item.path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(keys[item.key])
            os.fchmod(file.fileno(), item.mode if item.mode is not None else mode)
            if group is not None:
                os.fchown(file.fileno(), -1, group)
