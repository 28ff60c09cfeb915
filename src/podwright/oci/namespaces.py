"""Which namespaces a container is in, and the mappings of its user namespace."""

from collections.abc import Sequence

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.kernel.namespaces import IdMapping
from podwright.oci.documents import Document
from podwright.oci.features import Features
from podwright.oci.host import Host
from podwright.oci.inputs import ContainerInput, SandboxView

_FIELD = "linux.security_context.namespace_options"
_OCI_NAMES = {"net": "network", "mnt": "mount"}
"""Where the OCI specification has another word than /proc/<pid>/ns."""


def check_sandbox(options: v1.NamespaceOption, features: Features) -> None:
    """Raises InvalidArgument for modes that a sandbox cannot have, FailedPrecondition where the handler cannot."""
    _check_mode("network", options.network, (v1.POD, v1.NODE))
    _check_mode("ipc", options.ipc, (v1.POD, v1.NODE))
    _check_mode("pid", options.pid, (v1.POD, v1.CONTAINER, v1.NODE))
    if options.target_id:
        raise InvalidArgument(f"{_FIELD}.target_id: a sandbox has no target")
    if not has_user_namespace(options):
        return
    for name, mode in (("pid", options.pid), ("ipc", options.ipc)):
        if mode == v1.NODE:
            raise InvalidArgument(f"{_FIELD}.{name}: NODE does not go with a user namespace")
    if not features.user_namespaces:
        raise FailedPrecondition(f'{_FIELD}.userns_options: handler "{features.name}" has no user namespaces here')


def check_container(options: v1.NamespaceOption, sandbox: v1.NamespaceOption) -> None:
    """Raises InvalidArgument for modes that a container cannot have in a sandbox with the options `sandbox`.

    Network and IPC namespace are the sandbox's, whatever a container says: clients such as crictl leave its options
    empty.
    """
    _check_mode("network", options.network, (v1.POD, v1.NODE))
    _check_mode("ipc", options.ipc, (v1.POD, v1.NODE))
    _check_mode("pid", options.pid, (v1.POD, v1.CONTAINER, v1.NODE, v1.TARGET))
    if (options.pid == v1.TARGET) != bool(options.target_id):
        raise InvalidArgument(f"{_FIELD}.target_id: is for mode TARGET, and needed there")
    if options.pid == v1.POD and sandbox.pid == v1.CONTAINER:
        raise InvalidArgument(f"{_FIELD}.pid: the sandbox was made without a PID namespace to share")
    if has_user_namespace(options) != has_user_namespace(sandbox) or (
        has_user_namespace(sandbox)
        and (mappings(options.userns_options.uids), mappings(options.userns_options.gids))
        != (mappings(sandbox.userns_options.uids), mappings(sandbox.userns_options.gids))
    ):
        raise InvalidArgument(f"{_FIELD}.userns_options: is not the sandbox's")


def has_user_namespace(options: v1.NamespaceOption) -> bool:
    """Whether a user namespace is asked for. Raises InvalidArgument for mappings that make no sense."""
    if not options.HasField("userns_options"):
        return False
    wanted = options.userns_options
    _check_mode("userns_options.mode", wanted.mode, (v1.POD, v1.NODE))
    for kind, ranges in (("uids", wanted.uids), ("gids", wanted.gids)):
        field = f"{_FIELD}.userns_options.{kind}"
        if wanted.mode == v1.NODE:
            if ranges:
                raise InvalidArgument(f"{field}: mode NODE has no mappings")
        elif len(ranges) != 1:
            raise InvalidArgument(f"{field}: one range is needed, there are {len(ranges)}")
        elif ranges[0].container_id != 0 or ranges[0].length == 0:
            raise InvalidArgument(f"{field}: id 0 of the container must be in the range")
        elif ranges[0].host_id + ranges[0].length > 2**32 - 1:
            raise InvalidArgument(f"{field}: the range goes beyond the last id of the host")
    return wanted.mode == v1.POD


def mappings(ranges: Sequence[v1.IDMapping]) -> tuple[IdMapping, ...]:
    """CRI id ranges as the kernel layer has them."""
    return tuple(IdMapping(r.container_id, r.host_id, r.length) for r in ranges)


def documents(container: ContainerInput, host: Host) -> list[Document]:
    """linux.namespaces: the sandbox's pinned ones, a mount namespace, and a PID namespace as the container wants it.

    A cgroup namespace hides the host's tree in v2; privileged containers see it, as with the peers.
    """
    security = container.config.linux.security_context
    found = [{"type": "mount"}, *pinned(container.sandbox)]
    pid = _pid_namespace(container)
    if pid is not None:
        found.append(pid)
    if host.v2 and not security.privileged:
        found.append({"type": "cgroup"})
    return found


def pinned(sandbox: SandboxView) -> list[Document]:
    """The sandbox's own namespaces. The user namespace comes first, since it owns the others."""
    kinds = sorted(sandbox.namespaces, key=lambda kind: (kind != "user", kind))
    return [{"type": _OCI_NAMES.get(kind, kind), "path": sandbox.namespaces[kind]} for kind in kinds]


def _pid_namespace(container: ContainerInput) -> Document | None:
    mode = container.config.linux.security_context.namespace_options.pid
    if mode == v1.CONTAINER:
        return {"type": "pid"}
    if mode == v1.TARGET:
        if container.target_pid_namespace is None:
            raise FailedPrecondition(f"{_FIELD}.target_id: the target container does not run")
        return {"type": "pid", "path": container.target_pid_namespace}
    if mode == v1.POD and container.sandbox.pid_namespace is not None:
        return {"type": "pid", "path": container.sandbox.pid_namespace}
    return None


def mapping_documents(ranges: Sequence[IdMapping]) -> list[Document]:
    """linux.uidMappings and their like."""
    return [{"containerID": r.container_id, "hostID": r.host_id, "size": r.length} for r in ranges]


def _check_mode(field: str, mode: v1.NamespaceMode, allowed: Sequence[v1.NamespaceMode]) -> None:
    if mode not in allowed:
        names = ", ".join(v1.NamespaceMode.Name(one) for one in allowed)
        raise InvalidArgument(f"{_FIELD}.{field}: {mode} is none of {names}")
