"""The Node object: what a cluster is told of this machine. Pure but for the time."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from podwright import __version__
from podwright.cri import v1
from podwright.node.conditions import Condition, condition
from podwright.node.context import Node
from podwright.node.flags import Flags
from podwright.node.pressure import Pressures
from podwright.node.runtime_health import RuntimeHealth

KUBELET_VERSION: Final = f"v1.36.0+podwright.{__version__}"
"""A version as clusters compare them: the behaviour is that of kubelet 1.36."""
_MOST_IMAGES: Final = 50


def node(this: Node, given: Flags) -> dict[str, Any]:
    """The object to register, without its status."""
    architecture = this.machine.architecture
    labels = {
        "kubernetes.io/hostname": this.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": architecture,
        **given.node_labels,
    }
    spec: dict[str, Any] = {}
    taints = this.configuration.register_with_taints
    if taints:
        spec["taints"] = [{"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in taints]
    if this.configuration.provider_id:
        spec["providerID"] = this.configuration.provider_id
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": this.name, "labels": labels}, "spec": spec}


def status(
    this: Node, images: Iterable[v1.Image], runtime: v1.StatusResponse | None, conditions: list[Condition]
) -> dict[str, Any]:
    """Its status."""
    machine = this.machine
    result: dict[str, Any] = {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in this.addresses),
            {"type": "Hostname", "address": this.name},
        ],
        "capacity": quantities(this.capacity),
        "allocatable": quantities(this.allocatable),
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": this.configuration.port}},
        "images": [
            {"names": [*image.repo_digests, *image.repo_tags], "sizeBytes": image.size}
            for image in sorted(images, key=lambda image: -image.size)[:_MOST_IMAGES]
            if image.repo_digests or image.repo_tags
        ],
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.system_uuid,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image,
            "containerRuntimeVersion": f"{this.runtime.runtime_name}://{this.runtime.runtime_version}",
            "kubeletVersion": KUBELET_VERSION,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": machine.architecture,
        },
    }
    if runtime is not None and runtime.runtime_handlers:
        result["runtimeHandlers"] = [
            {
                "name": handler.name,
                "features": {
                    "recursiveReadOnlyMounts": handler.features.recursive_read_only_mounts,
                    "userNamespaces": handler.features.user_namespaces,
                },
            }
            for handler in runtime.runtime_handlers
        ]
        result["features"] = {"supplementalGroupsPolicy": runtime.features.supplemental_groups_policy}
    return result


def conditions(health: RuntimeHealth, pressures: Pressures) -> list[Condition]:
    """The four conditions of a node, without times."""
    found = []
    for kind, words in (
        ("MemoryPressure", ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory", "memory available")),
        ("DiskPressure", ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure", "disk space available")),
        ("PIDPressure", ("KubeletHasInsufficientPID", "KubeletHasSufficientPID", "PID available")),
    ):
        under = pressures.is_under(kind)  # type: ignore[arg-type]
        text = f"kubelet has {'insufficient' if under else 'sufficient'} {words[2]}"
        found.append(condition(kind, true=under, reason=words[0] if under else words[1], message=text))
    problem = health.problem
    if problem:
        found.append(condition("Ready", true=False, reason="KubeletNotReady", message=problem))
    else:
        message = "kubelet is posting ready status"
        found.append(condition("Ready", true=True, reason="KubeletReady", message=message))
    return found


def quantities(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    """Amounts as the API writes them."""
    result = {}
    for name, amount in amounts.items():
        if name == "cpu":
            milli = int(amount * 1000)
            result[name] = f"{milli}m" if milli % 1000 else str(milli // 1000)
        elif name == "memory" or name.startswith("hugepages-"):
            result[name] = f"{int(amount) // 1024}Ki" if int(amount) % 1024 == 0 else str(int(amount))
        else:
            result[name] = str(int(amount))
    return result
