"""Making the sandbox of a pod: directories, cgroup, RunPodSandbox, /etc/hosts."""

import asyncio
import dataclasses
import os
from typing import Final

from podwright.cri import v1
from podwright.errors import PodwrightError
from podwright.node import qos
from podwright.node.context import Node
from podwright.node.events import About
from podwright.node.node_pods import NodePod
from podwright.node.observed import SeenPod
from podwright.node.resources import limits
from podwright.pods import dns, translate
from podwright.pods.facts import Facts

_MANAGED_HOSTS: Final = "# Kubernetes-managed hosts file.\n"


def facts(node: Node, pod: NodePod, seen: SeenPod) -> Facts:
    """What the pod may know of itself now."""
    addresses = node.addresses if pod.pod.spec.host_network else seen.addresses
    return Facts(
        pod.pod,
        pod.namespace,
        pod.uid,
        node.name,
        addresses=addresses,
        host_addresses=node.addresses,
        allocatable=node.allocatable,
    )


def config(node: Node, pod: NodePod, attempt: int) -> v1.PodSandboxConfig:
    """What the sandbox is asked for. Raises InvalidArgument."""
    about = Facts(pod.pod, pod.namespace, pod.uid, node.name)
    made = translate.sandbox(
        about,
        log_directory=node.places.pod(pod.uid, pod.namespace, pod.name).logs,
        dns=dns.config(pod.pod.spec, node.resolv_conf, node.dns, pod.namespace),
        annotations={},
        cluster_domain=node.configuration.cluster_domain,
    )
    made.metadata.attempt = attempt
    made.linux.cgroup_parent = node.cgroups.parent(pod.pod)
    made.linux.resources.CopyFrom(_sums(pod))
    made.linux.overhead.SetInParent()
    return made


async def make(node: Node, pod: NodePod, attempt: int) -> SeenPod:
    """Makes the sandbox and returns what is to be seen of it. Raises what went wrong, of which an event is told."""
    places = node.places.pod(pod.uid, pod.namespace, pod.name)
    try:
        await asyncio.to_thread(node.cgroups.make, pod.pod)
        await asyncio.to_thread(_directories, places.path, places.logs)
        handler = ""
        if pod.pod.spec.runtime_class_name:
            handler = await node.objects[pod.source].handler(pod.pod.spec.runtime_class_name)
        await node.cri.run_pod_sandbox(config(node, pod, attempt), runtime_handler=handler)
    except PodwrightError as error:
        message = f"Failed to create pod sandbox: {error}"
        node.recorder.tell(About.pod(pod), "Warning", "FailedCreatePodSandBox", message)
        raise
    return await node.observed.refresh(pod.uid)


def write_hosts(node: Node, pod: NodePod, seen: SeenPod) -> str:
    """Writes the pod's /etc/hosts and returns where. Blocks."""
    path = node.places.pod(pod.uid, pod.namespace, pod.name).hosts
    about = facts(node, pod, seen)
    if pod.pod.spec.host_network:
        with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
            text = file.read()
        aliases = dataclasses.replace(about, addresses=())
        text += "".join(translate.hosts_file(aliases).splitlines(keepends=True)[2:])
    else:
        text = translate.hosts_file(about, node.configuration.cluster_domain)
    with open(path, "w", encoding="utf-8") as file:
        file.write(_MANAGED_HOSTS + text)
        os.fchmod(file.fileno(), 0o644)
    return path


def _directories(path: str, logs: str) -> None:
    os.makedirs(path, mode=0o750, exist_ok=True)
    os.makedirs(logs, mode=0o755, exist_ok=True)


def _sums(pod: NodePod) -> v1.LinuxContainerResources:
    """What the pod as a whole may use, for runtimes that want to know."""
    amounts = {name: total for name in ("cpu", "memory") if (total := qos.total(pod.pod, "limits", name))}
    requests = {name: total for name in ("cpu", "memory") if (total := qos.total(pod.pod, "requests", name))}
    return limits(requests, amounts)
