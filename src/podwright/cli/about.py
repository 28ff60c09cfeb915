"""`podwright version` and `podwright info`: who is there, and how it is."""

import argparse
from typing import Final

from podwright import __version__
from podwright.cli.connection import connect
from podwright.cli.humans import size
from podwright.cli.messages import plain, verbose_info
from podwright.cli.output import Cell, Column, structured, table
from podwright.client import Client
from podwright.cri import v1
from podwright.errors import Unimplemented


def version(options: argparse.Namespace) -> int:
    """Prints the versions of both sides."""
    with connect(options) as cri:
        answer = cri.version()
        endpoint = str(cri.endpoints["RuntimeService"])
    if options.output != "table":
        structured({"podwright": __version__, "endpoint": endpoint, "runtime": plain(answer)}, options.output)
        return 0
    print(f"podwright  {__version__}")
    print(f"runtime    {answer.runtime_name} {answer.runtime_version}")
    print(f"CRI        {answer.runtime_api_version}")
    print(f"endpoint   {endpoint}")
    return 0


def info(options: argparse.Namespace) -> int:
    """Prints conditions, handlers with their features, and the file systems that images and containers are on."""
    with connect(options) as cri:
        answer, who, driver = cri.status(verbose=True), cri.version(), cgroup_driver(cri)
        if options.output == "table":
            print(f"{who.runtime_name} {who.runtime_version}{driver and f', cgroups by {driver}'}\n")
            table(answer.status.conditions, _CONDITIONS)
            print()
            if answer.runtime_handlers:
                table(answer.runtime_handlers, _HANDLERS)
                print()
            disks = cri.image_fs_info()  # last, for the rest is of use without it
            used = [("images", one) for one in disks.image_filesystems]
            table([*used, *(("containers", one) for one in disks.container_filesystems)], _DISKS)
        else:
            told = {**plain(answer), "cgroupDriver": driver, **plain(cri.image_fs_info())}
            structured({**told, "info": verbose_info(answer.info)}, options.output)
    return 0


def cgroup_driver(cri: Client) -> str:
    """Who makes cgroups: systemd or cgroupfs, or "" where the runtime does not say (before CRI 1.28)."""
    try:
        answer = cri.runtime_config()
    except Unimplemented:
        return ""
    return v1.CgroupDriver.Name(answer.linux.cgroup_driver).lower()


_CONDITIONS: Final[tuple[Column[v1.RuntimeCondition], ...]] = (
    Column("CONDITION", lambda condition: Cell(condition.type, "bold")),
    Column("HOLDS", lambda condition: Cell("yes", "green") if condition.status else Cell("no", "red")),
    Column("WHY", lambda condition: " ".join(filter(None, [condition.reason, condition.message]))),
)
_HANDLERS: Final[tuple[Column[v1.RuntimeHandler], ...]] = (
    Column("HANDLER", lambda handler: Cell(handler.name or "(default)", "bold")),
    Column("FEATURES", lambda handler: ", ".join(name for name, has in plain(handler.features).items() if has)),
)
_DISKS: Final[tuple[Column[tuple[str, v1.FilesystemUsage]], ...]] = (
    Column("FILES OF", lambda item: Cell(item[0], "bold")),
    Column("USED", lambda item: size(item[1].used_bytes.value), right=True),
    Column("INODES", lambda item: str(item[1].inodes_used.value), right=True),
    Column("WHERE", lambda item: item[1].fs_id.mountpoint),
)
