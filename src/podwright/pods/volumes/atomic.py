"""Writing a volume's files so that a container sees all of the old or all of the new ones.

    <volume>/..2026_11_25_10_11_12.123456789/ca.crt      one set of files
    <volume>/..data -> ..2026_11_25_10_11_12.123456789   swapped by rename(2)
    <volume>/ca.crt -> ..data/ca.crt

The layout is the kubelet's (pkg/volume/util/atomic_writer.go): programs watch for the swap of ..data.
"""

import contextlib
import os
import shutil
import time
from typing import Final

from podwright.pods.volumes.payload import File, Payload

_DATA: Final = "..data"
_PERMISSIONS: Final = 0o7777


def write(volume: str, payload: Payload, group: int | None) -> bool:
    """Makes the existing directory hold just these files; whether anything had to be changed.

    With a group the files belong to it and it may read them.
    """
    wanted = {path: File(item.data, _mode(item.mode, group)) for path, item in payload.items()}
    old = _current(volume)
    if old is not None and _holds(old, wanted):
        return False
    name = f"{time.strftime('..%Y_%m_%d_%H_%M_%S', time.gmtime())}.{time.time_ns() % 10**9:09d}"
    _fill(os.path.join(volume, name), wanted, group)
    _link(name, os.path.join(volume, _DATA))
    tops = {path.split("/", 1)[0] for path in wanted}
    for top in tops:
        link = os.path.join(volume, top)
        if not os.path.islink(link):
            _link(f"{_DATA}/{top}", link)
    for there in os.listdir(volume):
        if not there.startswith("..") and there not in tops:
            os.unlink(os.path.join(volume, there))
    if old is not None:
        shutil.rmtree(old)
    return True


def _mode(mode: int, group: int | None) -> int:
    return mode if group is None else mode | 0o440


def _current(volume: str) -> str | None:
    try:
        return os.path.join(volume, os.readlink(os.path.join(volume, _DATA)))
    except FileNotFoundError:
        return None


def _holds(directory: str, wanted: Payload) -> bool:
    there: set[str] = set()
    for below, _, names in os.walk(directory):
        there.update(os.path.relpath(os.path.join(below, name), directory) for name in names)
    if there != set(wanted):
        return False
    for path, item in wanted.items():
        with open(os.path.join(directory, path), "rb") as file:
            if os.fstat(file.fileno()).st_mode & _PERMISSIONS != item.mode or file.read() != item.data:
                return False
    return True


def _fill(directory: str, wanted: Payload, group: int | None) -> None:
    os.mkdir(directory)
    os.chmod(directory, 0o755)  # mkdir heeds the umask
    for path, item in wanted.items():
        target = os.path.join(directory, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            if group is not None:
                os.fchown(file.fileno(), -1, group)
            os.fchmod(file.fileno(), item.mode)
            file.write(item.data)


def _link(target: str, link: str) -> None:
    """A symbolic link, in place of one that is there."""
    temporary = f"{link}_tmp" if link.endswith(_DATA) else f"{os.path.dirname(link)}/..{os.path.basename(link)}_tmp"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    os.symlink(target, temporary)
    os.rename(temporary, link)
