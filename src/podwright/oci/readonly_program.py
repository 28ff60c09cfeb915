"""crun from a read-only mount.

A container must not get to write to the program that makes it, which it can see as /proc/<pid>/exe (CVE-2019-5736).
crun sees to that each time it is called: it mounts itself read-only and starts anew from there, which costs a third of
its time, and two events for everybody who watches the mounts of the host. It does without where it finds itself on a
read-only mount (1.8 and up; cloned_binary.c of libcrun). So here is one.
"""

import os

from podwright.kernel import mounts


def mount(program: str, place: str) -> str:
    """Shows the folder of `program` read-only at `place`, which must lie on a private mount; returns the program's
    path in there. The folder, since a newer version of the program takes the older one's name in it.

    May be repeated. Raises OSError.
    """
    folder, name = os.path.split(program)
    os.makedirs(place, mode=0o700, exist_ok=True)
    if not _is_shown(folder, place):
        mounts.umount(place)
        mounts.bind(folder, place, readonly=True)
        mounts.make_private(place)
    return f"{place}/{name}"


def _is_shown(folder: str, place: str) -> bool:
    return os.path.samefile(folder, place) and bool(os.statvfs(place).f_flag & os.ST_RDONLY)
