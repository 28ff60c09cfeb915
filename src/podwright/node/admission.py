"""Whether this node can run a pod at all, beside those it has. Pure.

Reasons and texts are the kubelet's (pkg/kubelet/lifecycle/predicate.go).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from podwright.node import qos
from podwright.node.node_pods import NodePod


def refusal(
    pod: NodePod, others: Iterable[NodePod], allocatable: Mapping[str, Decimal], labels: Mapping[str, str]
) -> str:
    """Why the pod is not run, as `Reason: message`; empty if it is."""
    selector: dict[str, Any] = pod.pod.spec.node_selector or {}
    if pod.source == "api" and any(labels.get(key) != value for key, value in selector.items()):
        return "NodeAffinity: Pod was rejected: node(s) didn't match Pod's node affinity/selector"
    there = [other for other in others if not other.problem]
    if len(there) >= allocatable["pods"]:
        return (
            f"OutOfpods: Pod was rejected: Node didn't have enough resource: pods, requested: 1, used: {len(there)}, "
            f"capacity: {allocatable['pods']}"
        )
    for name, unit in (("cpu", 1000), ("memory", 1), ("ephemeral-storage", 1)):
        asked = qos.total(pod.pod, "requests", name) or Decimal(0)
        used = sum((qos.total(other.pod, "requests", name) or Decimal(0) for other in there), Decimal(0))
        if asked and asked + used > allocatable[name]:
            return (
                f"OutOf{name}: Pod was rejected: Node didn't have enough resource: {name}, "
                f"requested: {int(asked * unit)}, used: {int(used * unit)}, capacity: {int(allocatable[name] * unit)}"
            )
    return _port_conflict(pod, there)


def _port_conflict(pod: NodePod, others: list[NodePod]) -> str:
    mine = _host_ports(pod)
    for other in others:
        for port in _host_ports(other):
            for own in mine:
                everywhere = "" in (port[2], own[2]) or "0.0.0.0" in (port[2], own[2])  # noqa: S104
                if port[:2] == own[:2] and (everywhere or port[2] == own[2]):
                    return (
                        "NodePorts: Pod was rejected: node(s) didn't have free ports for the requested pod ports: "
                        f"{own[0]} is pod {other.full_name}'s"
                    )
    return ""


def _host_ports(pod: NodePod) -> set[tuple[int, str, str]]:
    spec = pod.pod.spec
    return {
        (port.container_port if spec.host_network else port.host_port, port.protocol, port.host_ip)
        for container in spec.containers
        for port in container.ports
        if spec.host_network or port.host_port
    }
