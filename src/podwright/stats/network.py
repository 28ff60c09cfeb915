"""Traffic of network namespaces, read in them without a program: one thread visits one after the other."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from podwright.kernel import namespaces
from podwright.kernel.mounts import in_thread_of_its_own


@dataclass(frozen=True, slots=True)
class Interface:
    """Counters of an interface since it was made, as `ip -s link` shows them."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def interfaces(pins: Mapping[str, str]) -> dict[str, list[Interface]]:
    """The interfaces but loopback in each of the network namespaces whose pins are given by key. Blocking.

    A namespace that has gone meanwhile is left out.
    """
    return in_thread_of_its_own(lambda: _visit(pins)) if pins else {}


def _visit(pins: Mapping[str, str]) -> dict[str, list[Interface]]:
    found = {}
    for key, pin in pins.items():
        try:
            namespaces.join(pin, "net")
        except OSError:
            continue
        found[key] = parse(_read("/proc/thread-self/net/dev"))
    return found


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):  # procfs gives a page at a time
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def parse(text: str) -> list[Interface]:
    """/proc/net/dev (proc(5)): two lines of titles, then `name: 8 numbers of receive, 8 of transmit`."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, counters = line.rpartition(":")
        numbers = [int(word) for word in counters.split()]
        if name.strip() != "lo":
            received, sent = numbers[:4], numbers[8:12]
            found.append(Interface(name.strip(), *received, *sent))
    return found
