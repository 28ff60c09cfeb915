"""What runs out or drifts away: disks, swap, the clock."""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Final

from podwright.cri import v1
from podwright.doctor.finding import Finding, fault, ok, warning
from podwright.doctor.machine import Machine

_LOW: Final = 15
_FULL: Final = 5
"""Per cent free: kubelets evict pods below 15 of an image file system, 10 of others, and 5 of the inodes."""

_RELEASED: Final = 1790000000
"""Seconds since the epoch, in September 2026; a clock that says less is wrong."""


def check_disks(machine: Machine, disks: v1.ImageFsInfoResponse) -> Iterator[Finding]:
    """The file systems that the runtime names, each once."""
    places = [one.fs_id.mountpoint for one in (*disks.image_filesystems, *disks.container_filesystems)]
    if not places:
        yield warning("disk", "the runtime names no file system of its images", "look at its log")
    for place in dict.fromkeys(places):
        try:
            yield _disk(place, os.statvfs(machine.path(place)))
        except OSError as error:
            yield fault("disk", f'"{place}", where images are: {error.strerror}', "is it mounted?")


def _disk(place: str, stat: os.statvfs_result) -> Finding:
    space = 100 * stat.f_bavail // max(stat.f_blocks, 1)
    inodes = 100 * stat.f_favail // stat.f_files if stat.f_files else 100  # btrfs counts none
    text = f'"{place}": {space} % of space and {inodes} % of inodes are free'
    advice = "remove images (`podwright rmi -a`) and what else is not needed"
    if min(space, inodes) < _FULL:
        return fault("disk", text, advice)
    if space < _LOW:
        return warning("disk", text, advice)
    return ok("disk", text)


def check(machine: Machine, now: float | None = None) -> Iterable[Finding]:
    """Swap and clock. `now` is in seconds since the epoch."""
    return (_swap(machine), _clock(machine, time.time() if now is None else now))


def _swap(machine: Machine) -> Finding:
    if len(machine.text("/proc/swaps").splitlines()) > 1:
        return warning("swap", "is on: kubelets refuse to start by default", "swapoff -a, or failSwapOn: false")
    return ok("swap", "is off")


def _clock(machine: Machine, now: float) -> Finding:
    date = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _RELEASED:
        return fault("clock", f"{date} is in the past: certificates and tokens are not valid yet", "set the clock")
    served = machine.exists("/run/systemd/timesync")
    if served and not machine.exists("/run/systemd/timesync/synchronized"):
        return warning("clock", f"{date}, never synchronized since the boot", "look at `timedatectl`")
    return ok("clock", date)
