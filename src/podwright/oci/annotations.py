"""Annotations of a configuration: what tools on nodes look for, and what OCI runtimes take orders from.

None comes from a pod: crun and runc change what they do on some names.
"""

from collections.abc import Mapping

from podwright.oci.features import Features
from podwright.oci.host import Host
from podwright.oci.inputs import ContainerInput, SandboxView

_PREFIX = "io.kubernetes.cri"
"""containerd's, which log and security agents know."""


def of_container(container: ContainerInput) -> Mapping[str, str]:
    """Which container it is."""
    config = container.config
    return {
        **of_sandbox(container.sandbox, "container"),
        f"{_PREFIX}.container-name": config.metadata.name,
        f"{_PREFIX}.image-name": config.image.user_specified_image or config.image.image,
    }


def of_sandbox(sandbox: SandboxView, kind: str = "sandbox") -> Mapping[str, str]:
    """Which sandbox it belongs to."""
    metadata = sandbox.config.metadata
    return {
        f"{_PREFIX}.container-type": kind,
        f"{_PREFIX}.sandbox-id": sandbox.id,
        f"{_PREFIX}.sandbox-name": metadata.name,
        f"{_PREFIX}.sandbox-namespace": metadata.namespace,
        f"{_PREFIX}.sandbox-uid": metadata.uid,
    }


def for_systemd(host: Host, features: Features) -> Mapping[str, str]:
    """Makes crun put the process in the scope itself, as runc does, and keeps systemd's default limit of tasks from
    containers: the kubelet limits pods.
    """
    if host.driver != "systemd":
        return {}
    subgroup = {"run.oci.systemd.subgroup": ""} if features.flavour == "crun" else {}
    return {**subgroup, "org.systemd.property.TasksMax": f"uint64 {2**64 - 1}"}
