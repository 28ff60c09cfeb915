"""config.json of a container, from what the CRI says of it.

`build` is a function on values; of the host it reads what device files, mount sources and the root file system say.
Each part of the document has a module of its own beside this one; validate.py refuses beforehand what can be refused
without looking.
"""

from dataclasses import dataclass

from podwright.oci import (
    annotations,
    apparmor,
    capabilities,
    cdi,
    devices,
    mounts,
    namespaces,
    process,
    resources,
    seccomp,
    selinux,
    signals,
    users,
    volumes,
)
from podwright.oci.documents import OCI_VERSION, Document, without_empty
from podwright.oci.features import Features
from podwright.oci.host import Host
from podwright.oci.inputs import ContainerInput


@dataclass(frozen=True, slots=True)
class Built:
    """A container, ready to be made."""

    spec: Document
    user: users.User
    stop_signal: signals.StopSignal
    volumes: tuple[volumes.Volume, ...]
    """To be made (volumes.make) before the container is."""
    relabel: tuple[str, ...]
    """Host paths to be given the label linux.mountLabel (selinux.relabel) before the container is made."""
    notes: tuple[str, ...]
    """Wishes that this host cannot fulfil, and what became of them; for the log."""


def build(container: ContainerInput, host: Host, features: Features) -> Built:
    """The configuration of a container whose message validate.container has let pass.

    Raises InvalidArgument and FailedPrecondition, naming the field, for what only a look at the host tells: users,
    host paths, devices, profiles.
    """
    notes: list[str] = []
    config = container.config
    security = config.linux.security_context
    user = users.resolve(security, container.image.user, container.rootfs)
    caps = capabilities.sets(security, host.capabilities, notes)
    labels = selinux.labels(container, host)
    anonymous = volumes.declared(container)
    mounted = mounts.build(container, host, features, [(v.container_path, v.host_path) for v in anonymous])
    nodes = devices.build(container)
    spec: Document = {
        "ociVersion": OCI_VERSION,
        "process": _process(container, host, user, caps, notes),
        "root": {"path": container.rootfs, "readonly": security.readonly_rootfs},
        "mounts": [*mounted.documents, *nodes.mounts],
        "annotations": {**annotations.of_container(container), **annotations.for_systemd(host, features)},
        "linux": _linux(container, host, caps, nodes, notes),
    }
    if mounted.rootfs_propagation:
        spec["linux"]["rootfsPropagation"] = mounted.rootfs_propagation
    if labels:
        spec["process"]["selinuxLabel"] = labels.process
        spec["linux"]["mountLabel"] = labels.mount
    cdi.apply(spec, cdi.names(config), in_user_namespace=bool(container.sandbox.uids))
    return Built(
        spec,
        user,
        signals.stop_signal(config.stop_signal, container.image.stop_signal, notes),
        tuple(anonymous),
        (*mounted.relabel, *(v.host_path for v in anonymous)) if labels else (),
        tuple(notes),
    )


def _process(
    container: ContainerInput, host: Host, user: users.User, caps: capabilities.CapabilitySets, notes: list[str]
) -> Document:
    config, image = container.config, container.image
    security = config.linux.security_context
    return without_empty(
        {
            "terminal": config.tty,
            "user": user.document(),
            "args": process.arguments(config, image),
            "env": process.environment(config, image, container.sandbox.config.hostname, user.home, notes),
            "cwd": process.working_directory(config, image),
            "capabilities": caps.document(),
            "noNewPrivileges": security.no_new_privs,
            "rlimits": process.limits(container.ulimits, host, notes),
            "oomScoreAdj": process.oom_score_adj(config.linux.resources.oom_score_adj, host, notes),
            "apparmorProfile": apparmor.profile(security, host, notes),
        }
    )


def _linux(
    container: ContainerInput,
    host: Host,
    caps: capabilities.CapabilitySets,
    nodes: devices.Devices,
    notes: list[str],
) -> Document:
    limits, security = container.config.linux.resources, container.config.linux.security_context
    sandbox = container.sandbox
    return without_empty(
        {
            "namespaces": namespaces.documents(container, host),
            "uidMappings": namespaces.mapping_documents(sandbox.uids),
            "gidMappings": namespaces.mapping_documents(sandbox.gids),
            "devices": nodes.nodes,
            "cgroupsPath": resources.cgroups_path(sandbox.cgroup_parent, container.id, host.driver),
            "resources": {**resources.document(limits, host, notes), "devices": nodes.rules},
            "seccomp": seccomp.document(security, frozenset(caps.bounding), host),
            "maskedPaths": [] if security.privileged else list(security.masked_paths),
            "readonlyPaths": [] if security.privileged else list(security.readonly_paths),
        }
    )
