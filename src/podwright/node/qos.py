"""Quality of service: classes of pods, and what follows from them for the kernel. Pure."""

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Final, Literal

from podwright.pods import quantity
from podwright.pods.check import containers
from podwright.pods.schema import Container, Pod

Class = Literal["Guaranteed", "Burstable", "BestEffort"]

_COMPUTE: Final = ("cpu", "memory")


def of(pod: Pod) -> Class:
    """The class of a pod (pkg/apis/core/v1/helper/qos): Guaranteed has limits for all and asks for no less."""
    everyone = [container for _, container in containers(pod)]
    asked = [
        name
        for container in everyone
        for amounts in (container.resources.requests, container.resources.limits)
        for name in _COMPUTE
        if _amount(amounts, name)
    ]
    if not asked:
        return "BestEffort"
    for container in everyone:
        limits, requests = container.resources.limits, container.resources.requests
        for name in _COMPUTE:
            if not _amount(limits, name) or _amount({**limits, **requests}, name) != _amount(limits, name):
                return "Burstable"
    return "Guaranteed"


def oom_score_adj(pod: Pod, container: Container, memory: int) -> int:
    """How ready the kernel is to kill the container; `memory` is the machine's in bytes (pkg/kubelet/qos/policy.go)."""
    match of(pod):
        case "Guaranteed":
            return -997
        case "BestEffort":
            return 1000
    asked = _amount({**container.resources.limits, **container.resources.requests}, "memory")
    return max(3, min(999, 1000 - int(1000 * asked / memory)))


def total(pod: Pod, kind: Literal["requests", "limits"], name: str) -> Decimal | None:
    """What a pod needs of a resource: its containers and sidecars together, or more while it initialises.

    Of limits None if a container has none.
    """

    def own(container: Container) -> Decimal | None:
        amounts = container.resources.limits
        if kind == "requests":
            amounts = {**amounts, **container.resources.requests}
        return _amount(amounts, name) if name in amounts else None

    running = [own(container) for container in pod.spec.containers]
    beside = Decimal(0)
    peaks = []
    for container in pod.spec.init_containers:
        amount = own(container)
        if container.restart_policy == "Always":
            running.append(amount)
            beside += amount or 0
        else:
            peaks.append(beside + (amount or 0))
            if amount is None and kind == "limits":
                return None
    if kind == "limits" and None in running:
        return None
    return max(sum((amount or Decimal(0) for amount in running), Decimal(0)), *peaks, Decimal(0))


def milli_cpu_to_shares(milli: int) -> int:
    """cpu.shares for an amount of CPU."""
    return max(2, min(262144, milli * 1024 // 1000))


def rounded(amount: Decimal | None, per: Callable[[Decimal], Decimal] = lambda x: x) -> int:
    """An amount as a whole number, upwards; 0 for None."""
    return 0 if amount is None else math.ceil(per(amount))


def _amount(amounts: object, name: str) -> Decimal:
    assert isinstance(amounts, dict)
    return quantity.parse(amounts[name], name) if name in amounts else Decimal(0)
