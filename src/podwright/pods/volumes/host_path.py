"""hostPath volumes: what of this machine a pod is shown."""

import os
import stat
from collections.abc import Callable, Mapping
from typing import Final

from podwright.errors import InvalidArgument
from podwright.pods.schema import HostPath

_TYPES: Final[Mapping[str, tuple[str, Callable[[int], bool]]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "FileOrCreate": ("a file", stat.S_ISREG),
    "Socket": ("a socket", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


def host_path(wanted: HostPath, where: str) -> str:
    """The path, made if its type says so. Raises InvalidArgument that begins with `where`."""
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
        name, is_one = _TYPES[wanted.type]
        if not is_one(mode):
            raise InvalidArgument(f'{where}.path: "{path}" is not {name}')
    return path
