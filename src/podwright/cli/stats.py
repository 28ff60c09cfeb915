"""`podwright stats`: what running containers, or pods, use at this moment."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from podwright.cli.connection import connect
from podwright.cli.humans import size
from podwright.cli.inventory import Inventory
from podwright.cli.output import Cell, Column, show
from podwright.cli.usage import Sample, cpu_rate, percent
from podwright.cri import v1
from podwright.ids import short

BETWEEN_SAMPLES: Final = 1.0
"""Seconds, where the runtime gives no rate by itself."""

Figures = TypeVar("Figures", v1.ContainerStats, v1.PodSandboxStats)


def stats(options: argparse.Namespace) -> int:
    """Lists figures of the named pods and containers, or of all."""
    return _of_pods(options) if options.pods else _of_containers(options)


def _of_containers(options: argparse.Namespace) -> int:
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        wanted = {item.id for name in options.names for item in inventory.containers_of(inventory.either(name))}
        figures, rates = _sampled(lambda: Sample.of_containers(cri).containers, options.output)
    shown = [item for item in figures.values() if not options.names or item.attributes.id in wanted]
    pods, wide = {item.id: item.pod_name for item in inventory.containers}, options.output == "wide"
    columns: tuple[Column[v1.ContainerStats], ...] = (
        Column("NAME", lambda item: Cell(item.attributes.metadata.name, "bold")),
        Column("POD", lambda item: pods.get(item.attributes.id, "")),
        Column("CPU", lambda item: percent(rates.get(item.attributes.id)), right=True),
        Column("MEMORY", lambda item: size(item.memory.working_set_bytes.value), right=True),
        Column("DISK", lambda item: size(item.writable_layer.used_bytes.value), right=True),
        Column("RSS", lambda item: size(item.memory.rss_bytes.value), wide=True, right=True),
        Column("INODES", lambda item: str(item.writable_layer.inodes_used.value), wide=True, right=True),
        Column("ID", lambda item: Cell(item.attributes.id if wide else short(item.attributes.id), "cyan")),
    )
    _show(shown, columns, options.output)
    return 0


def _of_pods(options: argparse.Namespace) -> int:
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        wanted = {inventory.pod(name).id for name in options.names}
        figures, rates = _sampled(
            lambda: {item.attributes.id: item for item in cri.list_pod_sandbox_stats().stats}, options.output
        )
    shown, wide = [item for key, item in figures.items() if not wanted or key in wanted], options.output == "wide"
    columns: tuple[Column[v1.PodSandboxStats], ...] = (
        Column("NAME", lambda item: Cell(item.attributes.metadata.name, "bold")),
        Column("NAMESPACE", lambda item: item.attributes.metadata.namespace),
        Column("CPU", lambda item: percent(rates.get(item.attributes.id)), right=True),
        Column("MEMORY", lambda item: size(item.linux.memory.working_set_bytes.value), right=True),
        Column("PIDS", lambda item: str(item.linux.process.process_count.value), right=True),
        Column("RECEIVED", lambda item: size(item.linux.network.default_interface.rx_bytes.value), right=True),
        Column("SENT", lambda item: size(item.linux.network.default_interface.tx_bytes.value), right=True),
        Column("RSS", lambda item: size(item.linux.memory.rss_bytes.value), wide=True, right=True),
        Column("ID", lambda item: Cell(item.attributes.id if wide else short(item.attributes.id), "cyan")),
    )
    _show(shown, columns, options.output)
    return 0


def _sampled(
    take: Callable[[], Mapping[str, Figures]], form: str
) -> tuple[Mapping[str, Figures], Mapping[str, float | None]]:
    """Figures by id, and for tables the CPUs in use. A second sample is only taken where there is need for one."""
    first = second = take()
    if form not in {"table", "wide"}:
        return first, {}
    if not all(_cpu(item).HasField("usage_nano_cores") for item in first.values()):
        time.sleep(BETWEEN_SAMPLES)
        second = take()
    return first, {key: cpu_rate(_cpu(second[key]), _cpu(first[key])) for key in first.keys() & second.keys()}


def _cpu(item: v1.ContainerStats | v1.PodSandboxStats) -> v1.CpuUsage:
    return item.cpu if isinstance(item, v1.ContainerStats) else item.linux.cpu


def _show(shown: Sequence[Figures], columns: Sequence[Column[Figures]], form: str) -> None:
    show(
        shown,
        columns,
        form,
        title="stats",
        identify=lambda item: item.attributes.id,
        message=lambda item: item,
    )
