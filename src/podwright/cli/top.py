"""`podwright top`: what uses the node, again and again on a terminal, or once into a pipe.

Owns the table and the keys; usage.py owns the figures. Rows come in pods, each with its containers below it.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from podwright.cli import terminal
from podwright.cli.connection import connect
from podwright.cli.humans import size
from podwright.cli.inventory import Container, Inventory, Pod
from podwright.cli.output import Cell, Column, drawn, table
from podwright.cli.stats import BETWEEN_SAMPLES
from podwright.cli.usage import Sample, cpu_rate, percent, traffic_rates
from podwright.client import Client
from podwright.cri import v1
from podwright.errors import NotFound, PodwrightError

Number = TypeVar("Number", int, float)

_LEAVING_KEYS: Final = frozenset(b"qQ\x03\x04\x1b")
"""q, Ctrl-C, Ctrl-D, Escape."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a pod or a container uses. None is what nobody knows; in limits, that there is none."""

    name: str
    is_pod: bool
    cpus: float | None = None
    cpu_limit: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    pids: int | None = None
    received: float | None = None
    sent: float | None = None
    disk: int | None = None


_COLUMNS: Final[tuple[Column[Row], ...]] = (
    Column("NAME", lambda row: Cell(row.name, "bold") if row.is_pod else Cell(f"  {row.name}")),
    Column("CPU", lambda row: percent(row.cpus), right=True),
    Column("LIMIT", lambda row: percent(row.cpu_limit), right=True),
    Column("MEMORY", lambda row: _size(row.memory), right=True),
    Column("LIMIT", lambda row: _size(row.memory_limit), right=True),
    Column("PIDS", lambda row: "" if row.pids is None else str(row.pids), right=True),
    Column("RECEIVED", lambda row: _per_second(row.received), right=True),
    Column("SENT", lambda row: _per_second(row.sent), right=True),
    Column("DISK", lambda row: _size(row.disk), right=True),
)

_ORDERS: Final[Mapping[str, Callable[[Row], float]]] = {
    "cpu": lambda row: -(row.cpus or 0),
    "memory": lambda row: -(row.memory or 0),
    "pids": lambda row: -(row.pids or 0),
    "network": lambda row: -((row.received or 0) + (row.sent or 0)),
    "disk": lambda row: -(row.disk or 0),
    "name": lambda _: 0,
}
"""By what --sort says; what is the same goes by name."""


def top(options: argparse.Namespace) -> int:
    """Shows the table until the user has had enough, or once if nobody can see it change."""
    with connect(options) as cri:
        look = _Look(cri, options.names, _ORDERS[options.sort])
        if sys.stdout.isatty():
            asyncio.run(_watch(look, options.interval, cri.close))
            return 0
        look.rows()
        time.sleep(BETWEEN_SAMPLES)
        rows = look.rows()
    table(rows, _COLUMNS)
    return 0


class _Look:
    """Takes sample after sample; rates are those since the one before."""

    def __init__(self, cri: Client, names: Sequence[str], order: Callable[[Row], float]) -> None:
        self._cri = cri
        self._names = names
        self._order = order
        self._before = Sample({}, {})

    def rows(self) -> list[Row]:
        """The table of this moment. Blocking. Raises NotFound, Ambiguous for names."""
        inventory, sample = Inventory.of(self._cri), Sample.of_all(self._cri)
        found = [inventory.either(name) for name in self._names] if self._names else list(inventory.pods)
        wanted = {item.id for one in found for item in (one, *inventory.containers_of(one))}
        groups = []
        for pod in inventory.pods:
            members = [item for item in inventory.members(pod) if item.id in wanted and item.id in sample.containers]
            if members or (pod.id in wanted and pod.id in sample.pods):
                groups.append(self._group(pod, members, sample))
        self._before = sample
        groups.sort(key=lambda group: self._place(group[0]))
        return [row for group in groups for row in group]

    def _group(self, pod: Pod, members: Sequence[Container], sample: Sample) -> list[Row]:
        before = self._before
        rows = [_container_row(self._cri, sample.containers[m.id], before.containers.get(m.id)) for m in members]
        rows.sort(key=self._place)
        return [_pod_row(pod, rows, sample.pods.get(pod.id), before.pods.get(pod.id)), *rows]

    def _place(self, row: Row) -> tuple[float, str]:
        return self._order(row), row.name


def _pod_row(pod: Pod, rows: Sequence[Row], now: v1.PodSandboxStats | None, before: v1.PodSandboxStats | None) -> Row:
    """A pod has a limit if each of its containers has one."""
    row = Row(
        pod.full_name,
        is_pod=True,
        cpu_limit=_sum(row.cpu_limit for row in rows),
        memory_limit=_sum(row.memory_limit for row in rows),
        disk=_sum(row.disk for row in rows),
    )
    if now is None:  # of a runtime that has only figures of containers
        return replace(row, cpus=_sum(row.cpus for row in rows), memory=_sum(row.memory for row in rows))
    received, sent = traffic_rates(now.linux.network, before.linux.network if before else None)
    return replace(
        row,
        cpus=cpu_rate(now.linux.cpu, before.linux.cpu if before else None),
        memory=now.linux.memory.working_set_bytes.value,
        pids=now.linux.process.process_count.value,
        received=received,
        sent=sent,
    )


def _container_row(cri: Client, now: v1.ContainerStats, before: v1.ContainerStats | None) -> Row:
    try:
        limits = cri.container_status(now.attributes.id).status.resources.linux
    except NotFound:  # removed since it was measured
        limits = v1.LinuxContainerResources()
    return Row(
        now.attributes.metadata.name,
        is_pod=False,
        cpus=cpu_rate(now.cpu, before.cpu if before else None),
        cpu_limit=limits.cpu_quota / limits.cpu_period if limits.cpu_quota > 0 and limits.cpu_period else None,
        memory=now.memory.working_set_bytes.value,
        memory_limit=limits.memory_limit_in_bytes or None,
        disk=now.writable_layer.used_bytes.value,
    )


def _sum(parts: Iterable[Number | None]) -> Number | None:
    """The sum, or None if a part is missing or there is none."""
    known = list(parts)
    numbers = [part for part in known if part is not None]
    return sum(numbers[1:], numbers[0]) if numbers and len(numbers) == len(known) else None


def _size(number: float | None) -> str:
    return "" if number is None else size(int(number))


def _per_second(rate: float | None) -> str:
    return "" if rate is None else f"{size(int(rate))}/s"


async def _watch(look: _Look, interval: float, close: Callable[[], None]) -> None:
    """Draws until a key means leaving. A runtime that does not answer is asked again, and the last table stays."""
    rows, trouble = await asyncio.to_thread(look.rows), ""

    def draw() -> None:
        width, height = terminal.size(1) or (80, 24)
        head = trouble or f"{_summary(rows)}; every {interval:g} s, q leaves"
        lines = [head[:width], *drawn(rows, _COLUMNS, width)]
        terminal.draw(1, lines[:height])

    with terminal.raw_mode(0), terminal.whole_screen(1), terminal.on_resize(draw):
        keys = asyncio.create_task(_left())
        try:
            while not keys.done():
                draw()
                await asyncio.wait({keys}, timeout=interval)
                asking = asyncio.create_task(asyncio.to_thread(look.rows))
                await asyncio.wait({keys, asking}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    try:
                        rows, trouble = asking.result(), ""
                    except PodwrightError as error:
                        trouble = str(error)
        finally:
            keys.cancel()
            close()  # ends a call whose thread would be waited for


async def _left() -> None:
    """Returns when a key for that is pressed; never if there is no keyboard."""
    async for data in terminal.read_chunks(0):
        if _LEAVING_KEYS.intersection(data):
            return
    await asyncio.Event().wait()


def _summary(rows: Sequence[Row]) -> str:
    pods = [row for row in rows if row.is_pod]
    cpus, memory = sum(row.cpus or 0 for row in pods), sum(row.memory or 0 for row in pods)
    return f"pods {len(pods)}, containers {len(rows) - len(pods)}, CPU {percent(cpus)}, memory {size(memory)}"
