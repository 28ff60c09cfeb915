"""What pods and containers use at one moment, as the runtime tells it, and the rates between two moments."""

from collections.abc import Mapping
from dataclasses import dataclass

from podwright.client import Client
from podwright.cri import v1
from podwright.errors import DeadlineExceeded, PodwrightError, Unavailable


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one moment, by id."""

    pods: Mapping[str, v1.PodSandboxStats]
    """Empty where the runtime has only those of containers."""
    containers: Mapping[str, v1.ContainerStats]

    @classmethod
    def of_containers(cls, cri: Client) -> "Sample":
        """Asks for the figures of running containers."""
        return cls({}, {item.attributes.id: item for item in cri.list_container_stats().stats})

    @classmethod
    def of_all(cls, cri: Client) -> "Sample":
        """Asks for the figures of ready pods with their running containers.

        A runtime may have none of pods; containerd 1.6 fails for all if one has no cgroup parent.
        """
        try:
            pods = cri.list_pod_sandbox_stats().stats
        except (Unavailable, DeadlineExceeded):
            raise
        except PodwrightError:
            return cls.of_containers(cri)
        members = (container for pod in pods for container in pod.linux.containers)
        return cls({pod.attributes.id: pod for pod in pods}, {item.attributes.id: item for item in members})


def cpu_rate(now: v1.CpuUsage, before: v1.CpuUsage | None) -> float | None:
    """CPUs in use: as the runtime says, or else since `before`. None if that cannot be told."""
    if now.HasField("usage_nano_cores"):
        return now.usage_nano_cores.value / 1e9
    if before is None:
        return None
    return _rate(
        now.usage_core_nano_seconds.value - before.usage_core_nano_seconds.value, now.timestamp - before.timestamp
    )


def traffic_rates(now: v1.NetworkUsage, before: v1.NetworkUsage | None) -> tuple[float | None, float | None]:
    """Bytes a second received and sent since `before`, over the interface that a pod has its address on."""
    if before is None:
        return None, None
    new, old, passed = now.default_interface, before.default_interface, now.timestamp - before.timestamp
    received = _rate(new.rx_bytes.value - old.rx_bytes.value, passed)
    sent = _rate(new.tx_bytes.value - old.tx_bytes.value, passed)
    return (None if received is None else received * 1e9), (None if sent is None else sent * 1e9)


def _rate(amount: int, nanoseconds: int) -> float | None:
    return amount / nanoseconds if nanoseconds > 0 else None


def percent(cpus: float | None) -> str:
    """CPUs as per cent of one."""
    return "" if cpus is None else f"{cpus * 100:.1f} %"
