"""`podwright stats`: what running containers use at this moment."""

import argparse
import time
from collections.abc import Mapping
from typing import Final

from podwright.cli.connection import connect
from podwright.cli.humans import size
from podwright.cli.inventory import Container, Inventory, Pod
from podwright.cli.output import Cell, Column, show
from podwright.client import Client
from podwright.cri import v1
from podwright.ids import short

_BETWEEN_SAMPLES: Final = 1.0
"""Seconds, where the runtime gives no rate by itself."""


def stats(options: argparse.Namespace) -> int:
    """Lists figures of the named pods and containers, or of all."""
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        wanted = _ids(inventory, options.names)
        figures = [item for item in _sample(cri) if item.attributes.id in wanted]
        rates = _rates(cri, figures) if options.output in {"table", "wide"} else {}
    wide, known = options.output == "wide", {container.id: container for container in inventory.containers}
    columns: tuple[Column[v1.ContainerStats], ...] = (
        Column("NAME", lambda item: Cell(item.attributes.metadata.name, "bold")),
        Column("POD", lambda item: known[item.attributes.id].pod_name),
        Column("CPU", lambda item: _percent(rates.get(item.attributes.id)), right=True),
        Column("MEMORY", lambda item: size(item.memory.working_set_bytes.value), right=True),
        Column("DISK", lambda item: size(item.writable_layer.used_bytes.value), right=True),
        Column("RSS", lambda item: size(item.memory.rss_bytes.value), wide=True, right=True),
        Column("INODES", lambda item: str(item.writable_layer.inodes_used.value), wide=True, right=True),
        Column("ID", lambda item: Cell(item.attributes.id if wide else short(item.attributes.id), "cyan")),
    )
    show(
        figures,
        columns,
        options.output,
        title="stats",
        identify=lambda item: item.attributes.id,
        message=lambda item: item,
    )
    return 0


def _ids(inventory: Inventory, names: list[str]) -> set[str]:
    found: list[Container] = []
    for name in names:
        item = inventory.either(name)
        found += inventory.members(item) if isinstance(item, Pod) else [item]
    return {container.id for container in (found if names else inventory.containers)}


def _sample(cri: Client) -> list[v1.ContainerStats]:
    return list(cri.list_container_stats().stats)


def _rates(cri: Client, first: list[v1.ContainerStats]) -> Mapping[str, float]:
    """CPUs in use by container id: as the runtime says, or else between two samples."""
    told = {item.attributes.id: item.cpu.usage_nano_cores.value / 1e9 for item in first}
    if all(item.cpu.HasField("usage_nano_cores") for item in first):
        return told
    time.sleep(_BETWEEN_SAMPLES)
    before = {item.attributes.id: item.cpu for item in first}
    for item in _sample(cri):
        earlier = before.get(item.attributes.id)
        if earlier is not None and item.cpu.timestamp > earlier.timestamp:
            used = item.cpu.usage_core_nano_seconds.value - earlier.usage_core_nano_seconds.value
            told[item.attributes.id] = used / (item.cpu.timestamp - earlier.timestamp)
    return told


def _percent(rate: float | None) -> str:
    return "" if rate is None else f"{rate * 100:.1f} %"
