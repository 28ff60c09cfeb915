"""Figures as CRI stats."""

from collections.abc import Sequence

from podwright.cri import v1
from podwright.stats.meters import Sample
from podwright.stats.network import Interface
from podwright.stats.trees import TreeUsage


def fill_cpu(message: v1.CpuUsage, sample: Sample, now: int) -> None:
    """CPU time, its rate and pressure. Fields are set one by one: four times as quick as nested constructors."""
    message.timestamp = now
    message.usage_core_nano_seconds.value = sample.figures.cpu_ns
    if sample.cpu_rate is not None:
        message.usage_nano_cores.value = sample.cpu_rate
    _fill_pressure(message.psi, sample.figures.cpu_pressure)


def fill_memory(message: v1.MemoryUsage, sample: Sample, now: int) -> None:
    """Memory and its pressure. What is available is only known where there is a limit."""
    figures = sample.figures
    message.timestamp = now
    message.usage_bytes.value = figures.memory
    message.working_set_bytes.value = figures.working_set
    message.rss_bytes.value = figures.rss
    message.page_faults.value = figures.page_faults
    message.major_page_faults.value = figures.major_page_faults
    if figures.memory_limit is not None:
        message.available_bytes.value = max(figures.memory_limit - figures.working_set, 0)
    _fill_pressure(message.psi, figures.memory_pressure)


def fill_io(message: v1.IoUsage, sample: Sample, now: int) -> None:
    """Pressure of I/O; the CRI has no more of it."""
    message.timestamp = now
    _fill_pressure(message.psi, sample.figures.io_pressure)


def fill_swap(message: v1.SwapUsage, sample: Sample, now: int) -> None:
    """Swap; unset where the kernel does not account for it."""
    figures = sample.figures
    message.timestamp = now
    if figures.swap is not None:
        message.swap_usage_bytes.value = figures.swap
        if figures.swap_limit is not None:
            message.swap_available_bytes.value = max(figures.swap_limit - figures.swap, 0)


def fill_writable_layer(message: v1.FilesystemUsage, usage: TreeUsage, mountpoint: str) -> None:
    """What a container has written."""
    message.timestamp = usage.measured_ns
    message.fs_id.mountpoint = mountpoint
    message.used_bytes.value = usage.size
    message.inodes_used.value = usage.inodes


def fill_network(message: v1.NetworkUsage, interfaces: Sequence[Interface], default: str, now: int) -> None:
    """Traffic: the interface that the pod's address is on, and the others."""
    message.timestamp = now
    for interface in interfaces:
        usage = message.default_interface if interface.name == default else message.interfaces.add()
        usage.name = interface.name
        usage.rx_bytes.value = interface.rx_bytes
        usage.rx_errors.value = interface.rx_errors
        usage.tx_bytes.value = interface.tx_bytes
        usage.tx_errors.value = interface.tx_errors


def _fill_pressure(message: v1.PsiStats, pressure: v1.PsiStats | None) -> None:
    if pressure is not None:
        message.CopyFrom(pressure)
