"""What this machine is: its size, its names, its addresses. Reads /proc, /etc and the routing table."""

import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from podwright.errors import InvalidArgument
from podwright.pods import quantity

_DOCUMENTATION: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}  # no packet is sent there


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that stay while the node runs."""

    cpus: int
    memory: int
    """Bytes."""
    hugepages: Mapping[str, int]
    """Bytes by size, such as 2Mi."""
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel: str
    os_image: str
    architecture: str

    @classmethod
    def look(cls) -> "Machine":
        """Asks the kernel."""
        return cls(
            cpus=len(os.sched_getaffinity(0)),
            memory=_meminfo()["MemTotal"],
            hugepages=_hugepages(),
            machine_id=_line("/etc/machine-id"),
            system_uuid=_line("/sys/class/dmi/id/product_uuid") or _line("/etc/machine-id"),
            boot_id=_line("/proc/sys/kernel/random/boot_id"),
            kernel=platform.release(),
            os_image=_os_image(),
            architecture={"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        )


def capacity(machine: Machine, root: str, max_pods: int) -> dict[str, Decimal]:
    """What the node has; disk is that of the file system that holds `root`."""
    disk = os.statvfs(root)
    return {
        "cpu": Decimal(machine.cpus),
        "memory": Decimal(machine.memory),
        "ephemeral-storage": Decimal(disk.f_blocks * disk.f_frsize),
        "pods": Decimal(max_pods),
        **{f"hugepages-{size}": Decimal(amount) for size, amount in machine.hugepages.items()},
    }


def allocatable(
    whole: Mapping[str, Decimal], reserved: Sequence[Mapping[str, str]], eviction: Mapping[str, str]
) -> dict[str, Decimal]:
    """What pods may use of it: less what is reserved, and less what is kept free by eviction.

    Raises InvalidArgument.
    """
    result = dict(whole)
    for amounts in reserved:
        for name, amount in amounts.items():
            if name not in result:
                raise InvalidArgument(f'reserved: there is no resource "{name}"')
            result[name] -= quantity.parse(amount, f"reserved.{name}")
    for signal, name in (("memory.available", "memory"), ("nodefs.available", "ephemeral-storage")):
        if signal in eviction:
            result[name] -= threshold(eviction[signal], whole[name], f"evictionHard.{signal}")
    return {name: max(amount, Decimal(0)) for name, amount in result.items()}


def threshold(text: str, whole: Decimal, where: str) -> Decimal:
    """An amount, or a share such as 10%. Raises InvalidArgument that begins with `where`."""
    if text.endswith("%"):
        return whole * quantity.parse(text[:-1], where) / 100
    return quantity.parse(text, where)


def addresses() -> tuple[str, ...]:
    """This machine's addresses: those from which it would speak to the outside, or else its loopback address."""
    found = []
    for family, outside in _DOCUMENTATION.items():
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((outside, 9))
            except OSError:
                continue
            found.append(probe.getsockname()[0])
    return tuple(found) or ("127.0.0.1",)


def _meminfo() -> dict[str, int]:
    with open("/proc/meminfo", encoding="ascii") as lines:
        pairs = (line.split() for line in lines)
        return {words[0].rstrip(":"): int(words[1]) * (1024 if words[2:] else 1) for words in pairs}


def memory_available() -> int:
    """Bytes that could be given to programs now."""
    return _meminfo()["MemAvailable"]


def memory_total() -> int:
    """Bytes."""
    return _meminfo()["MemTotal"]


def processes() -> tuple[int, int]:
    """How many tasks there are now, and how many there may be."""
    with open("/proc/loadavg", encoding="ascii") as file:
        running = int(file.read().split()[3].partition("/")[2])
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        return running, int(file.read())


def _hugepages() -> dict[str, int]:
    directory, found = "/sys/kernel/mm/hugepages", {}
    if not os.path.isdir(directory):
        return {}
    for name in sorted(os.listdir(directory)):
        size = int(name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        count = int(_line(f"{directory}/{name}/nr_hugepages") or 0)
        shown = f"{size >> 30}Gi" if size >= 1 << 30 else f"{size >> 20}Mi" if size >= 1 << 20 else f"{size >> 10}Ki"
        found[shown] = size * count
    return found


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"
