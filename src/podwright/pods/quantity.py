"""Amounts as Kubernetes writes them, and the cgroup settings that follow from them."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.pods.schema import Quantity, Resources

_SUFFIXES: Final = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}
_QUANTITY: Final = re.compile(r"([+-]?[0-9]*\.?[0-9]+|[+-]?[0-9]+\.)(?:[eE]([+-]?[0-9]{1,3})|([a-zA-Z]*))")

_PERIOD: Final = 100_000  # microseconds: cpu.cfs_period_us of kubelets
_LEAST_QUOTA, _LEAST_SHARES, _MOST_SHARES = 1000, 2, 262_144  # what the kernel takes


def parse(quantity: Quantity, where: str) -> Decimal:
    """Reads 500m, 1.5, 64Mi, 1e3. Raises InvalidArgument that begins with `where`."""
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None or (found[3] or "") not in _SUFFIXES:
        raise InvalidArgument(f'{where}: "{quantity}" is no quantity: write 500m, 1.5, 64Mi or 1G')
    amount = Decimal(found[1]) * (Decimal(10) ** int(found[2]) if found[2] else _SUFFIXES[found[3]])
    if amount < 0:
        raise InvalidArgument(f'{where}: "{quantity}" is negative')
    return amount


def limits(resources: Resources, where: str) -> v1.LinuxContainerResources:
    """The cgroup limits that a kubelet would ask for; a limit is also a request where there is none."""
    wanted = {**resources.limits, **resources.requests}
    cpu, memory = _amount(resources.limits, "cpu", where), _amount(resources.limits, "memory", where)
    requested = _amount(wanted, "cpu", where)
    if requested is not None and cpu is not None and requested > cpu:
        raise InvalidArgument(f"{where}.requests: cpu is more than its limit")
    result = v1.LinuxContainerResources(cpu_shares=_LEAST_SHARES)
    if requested:
        result.cpu_shares = max(_LEAST_SHARES, min(_MOST_SHARES, int(requested * 1024)))
    if cpu:
        limit_cpu(result, cpu)
    if memory:
        limit_memory(result, memory)
    return result


def limit_cpu(resources: v1.LinuxContainerResources, cpus: Decimal) -> None:
    """Sets the limit to so many CPUs, or the least that the kernel takes."""
    resources.cpu_period, resources.cpu_quota = _PERIOD, max(_LEAST_QUOTA, int(cpus * _PERIOD))


def limit_memory(resources: v1.LinuxContainerResources, size: Decimal) -> None:
    """Sets the limit to so many bytes, of which none is swap."""
    resources.memory_limit_in_bytes = resources.memory_swap_limit_in_bytes = math.ceil(size)


def _amount(amounts: Mapping[str, Quantity], name: str, where: str) -> Decimal | None:
    return parse(amounts[name], f"{where}: {name}") if name in amounts else None
