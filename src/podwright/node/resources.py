"""What a container may use, as the kubelet asks its runtime for it. Pure."""

import math
from collections.abc import Mapping
from decimal import Decimal

from podwright.cri import v1
from podwright.node import qos
from podwright.pods import quantity
from podwright.pods.schema import Container, Pod, Resources


def limits(requests: Mapping[str, Decimal], amounts: Mapping[str, Decimal]) -> v1.LinuxContainerResources:
    """The cgroup settings for amounts that are known to be good."""
    written = Resources(
        requests={name: str(amount) for name, amount in requests.items()},
        limits={name: str(amount) for name, amount in amounts.items()},
    )
    return quantity.limits(written, "resources")


def complete(config: v1.LinuxContainerResources, pod: Pod, container: Container, machine_memory: int) -> None:
    """Adds what depends on the whole pod and on the machine: how ready the kernel is to kill it, huge pages."""
    config.oom_score_adj = qos.oom_score_adj(pod, container, machine_memory)
    for name, amount in container.resources.limits.items():
        if name.startswith("hugepages-"):
            size = name.removeprefix("hugepages-")
            bytes_ = math.ceil(quantity.parse(amount, name))
            config.hugepage_limits.add(
                page_size=size.replace("Mi", "MB").replace("Gi", "GB").replace("Ki", "KB"), limit=bytes_
            )
