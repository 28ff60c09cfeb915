"""A sandbox as the specifications of its containers see it: which namespaces, files and cgroup are its own."""

from collections.abc import Mapping

from podwright.core.paths import Paths
from podwright.cri import v1
from podwright.kernel.namespaces import Kind
from podwright.oci import namespaces
from podwright.oci.inputs import SandboxView
from podwright.state.records import Sandbox

_FILES = ("hosts", "hostname", "resolv.conf")


def pins(paths: Paths, sandbox_id: str, config: v1.PodSandboxConfig) -> dict[Kind, str]:
    """The namespaces that the sandbox has of its own, and where they are pinned. With the host's network goes its
    hostname.
    """
    options = config.linux.security_context.namespace_options
    kinds: list[Kind] = []
    if options.network == v1.POD:
        kinds += ["net", "uts"]
    if options.ipc == v1.POD:
        kinds.append("ipc")
    if namespaces.has_user_namespace(options):
        kinds.append("user")
    return {kind: paths.pin(sandbox_id, kind) for kind in kinds}


def root_of(config: v1.PodSandboxConfig) -> tuple[int, int]:
    """User and group that are root inside: the first ids of the user namespace, if there is one."""
    options = config.linux.security_context.namespace_options.userns_options
    if options.mode == v1.POD and options.uids and options.gids:
        return options.uids[0].host_id, options.gids[0].host_id
    return 0, 0


def shares_pid_namespace(config: v1.PodSandboxConfig) -> bool:
    """Whether the containers share a PID namespace, which then needs a process 1 of its own."""
    return config.linux.security_context.namespace_options.pid == v1.POD


def files(paths: Paths, sandbox_id: str) -> Mapping[str, str]:
    """Path in containers → path of the sandbox's file."""
    return {f"/etc/{name}": f"{paths.sandbox(sandbox_id)}/{name}" for name in _FILES}


def shm(paths: Paths, sandbox_id: str, config: v1.PodSandboxConfig) -> str:
    """What containers see as /dev/shm: it goes with the IPC namespace."""
    if config.linux.security_context.namespace_options.ipc == v1.NODE:
        return "/dev/shm"
    return f"{paths.sandbox(sandbox_id)}/shm"


def sandbox_view(paths: Paths, sandbox: Sandbox) -> SandboxView:
    """What oci/ has to know of the sandbox."""
    options = sandbox.config.linux.security_context.namespace_options
    return SandboxView(
        id=sandbox.id,
        config=sandbox.config,
        namespaces=pins(paths, sandbox.id, sandbox.config),
        pid_namespace=paths.pin(sandbox.id, "pid") if shares_pid_namespace(sandbox.config) else None,
        cgroup_parent=sandbox.facts.cgroup_parent,
        shm=shm(paths, sandbox.id, sandbox.config),
        files=files(paths, sandbox.id),
        uids=namespaces.mappings(options.userns_options.uids),
        gids=namespaces.mappings(options.userns_options.gids),
    )
