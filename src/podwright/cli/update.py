"""`podwright update`: other limits for containers that are there."""

import argparse
from decimal import Decimal

from podwright.cli.connection import connect
from podwright.cli.inventory import Inventory
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.pods import quantity

_NO_LIMIT = "max"
"""As in the files of cgroup v2."""


def update(options: argparse.Namespace) -> int:
    """Changes the limits that are named, and no other, until a kubelet or somebody else changes them again."""
    limits = _limits(options)
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        for container in [inventory.container(name) for name in options.names]:
            cri.update_container_resources(container.id, linux=limits)
            print(container.full_name)
    return 0


def _limits(options: argparse.Namespace) -> v1.LinuxContainerResources:
    limits = v1.LinuxContainerResources(
        cpu_shares=options.cpu_shares, cpuset_cpus=options.cpuset_cpus, cpuset_mems=options.cpuset_mems
    )
    if options.cpus == _NO_LIMIT:
        limits.cpu_quota = -1
    elif options.cpus is not None:
        quantity.limit_cpu(limits, _amount(options.cpus, "--cpus"))
    if options.memory == _NO_LIMIT:
        limits.memory_limit_in_bytes = limits.memory_swap_limit_in_bytes = -1
    elif options.memory is not None:
        quantity.limit_memory(limits, _amount(options.memory, "--memory"))
    if limits == v1.LinuxContainerResources():
        raise InvalidArgument("update takes at least one limit, such as --memory 256Mi")
    return limits


def _amount(text: str, flag: str) -> Decimal:
    amount = quantity.parse(text, flag)
    if not amount:
        raise InvalidArgument(f'{flag}: 0 is no limit; "{_NO_LIMIT}" lifts it')
    return amount
