"""RunPodSandbox: namespaces, files, network and, where containers share a PID namespace, its process 1.

No pause container and no image: the namespaces are pinned by bind mounts (kernel/namespaces.py).
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Literal

from podwright.clock import now_ns
from podwright.core import exits, view
from podwright.core.concurrent import all_of
from podwright.core.ledger import Kind as ResourceKind
from podwright.core.runtime import Handler, Runtime
from podwright.core.sandbox_remove import remove_by_id, remove_sandbox
from podwright.cri import v1
from podwright.errors import AlreadyExists, InvalidArgument, PodwrightError
from podwright.ids import new_id
from podwright.kernel import mounts, namespaces
from podwright.kernel.namespaces import Kind, Wanted
from podwright.network.dns import resolv_conf
from podwright.network.request import AttachRequest, Dns, PortMapping
from podwright.network.request import check as check_request
from podwright.oci import documents, infra, resources, sysctls, validate
from podwright.oci import namespaces as oci_namespaces
from podwright.state.records import Sandbox, SandboxFacts, SandboxStatus, sandbox_name
from podwright.state.store import Statement
from podwright.trace import step

logger = logging.getLogger(__name__)

HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
"""For containers that bring no /etc/hosts of their own; kubelets always do."""


async def run_sandbox(runtime: Runtime, config: v1.PodSandboxConfig, requested_handler: str) -> str:
    """Makes a ready sandbox and returns its id. On failure nothing of it is left.

    Asking again for the same sandbox joins the work under way or takes its result (operations.py). Raises
    InvalidArgument, AlreadyExists, and what network and handler raise.
    """
    handler = runtime.handler(requested_handler)
    validate.sandbox(config, runtime.host, handler.features)
    check_request(_attach_request(config))
    name = sandbox_name(config.metadata)
    fingerprint = config.SerializeToString(deterministic=True) + requested_handler.encode()
    sandbox_id = await runtime.operations.make(
        name,
        fingerprint,
        lambda: make_sandbox(runtime, config, requested_handler, handler),
        lambda sandbox_id: remove_by_id(runtime, sandbox_id),
    )
    runtime.index.show(runtime.index.sandboxes[sandbox_id])  # nobody who did not know of it can have removed it
    return sandbox_id


async def make_sandbox(
    runtime: Runtime,
    config: v1.PodSandboxConfig,
    requested_handler: str,
    handler: Handler,
    *,
    restoring: bool = False,
) -> str:
    """Makes a ready sandbox whose configuration is valid; `restoring` goes into its status. On failure nothing of it
    is left.
    """
    await _make_way(runtime, sandbox_name(config.metadata))
    sandbox = _record(runtime, config, requested_handler, handler, restoring=restoring)
    sandbox.fetched = False
    pins = view.pins(runtime.paths, sandbox.id, config)
    async with sandbox.lock:
        try:
            await runtime.index.add_sandbox(sandbox, *_enter_resources(runtime, sandbox, pins))
            with step("sandbox.files", sandbox.id):
                await asyncio.to_thread(_make_files, runtime, sandbox)
            if pins:
                with step("sandbox.namespaces", sandbox.id):
                    await asyncio.to_thread(_make_namespaces, sandbox, pins)
            # The network needs the namespace and process 1 too, but not each other.
            await all_of([_attach(runtime, sandbox, pins), _start_infra(runtime, sandbox, handler)])
            async with runtime.nri.creation():
                await runtime.nri.run_sandbox(sandbox)
                await runtime.index.update_sandbox(sandbox, phase="ready")
            if sandbox.status.infra is not None:
                exits.watch_infra(runtime, sandbox)  # not before: of an end before it is ready nobody would know
        except BaseException as error:
            await _undo(runtime, sandbox, error)
            raise
    logger.info("sandbox %s is ready, addresses: %s", sandbox.title, ", ".join(sandbox.status.ips) or "the host's")
    return sandbox.id


async def _make_way(runtime: Runtime, name: str) -> None:
    """Finishes what is on its way out under this name, or was never fetched and could not be disposed of. Raises
    AlreadyExists if a sandbox has the name.
    """
    holder = runtime.index.sandboxes.get(runtime.index.holder(name) or "")
    if holder is None:
        return
    if holder.status.phase == "creating":
        async with holder.lock:
            if holder.id in runtime.index.sandboxes:
                await abandon_sandbox(runtime, holder)
    elif holder.status.phase == "removing" or not holder.fetched:
        await remove_sandbox(runtime, holder)
    else:
        raise AlreadyExists(f'a sandbox with this name, namespace, uid and attempt exists: "{holder.id}"')


def _record(
    runtime: Runtime, config: v1.PodSandboxConfig, requested_handler: str, handler: Handler, *, restoring: bool
) -> Sandbox:
    sandbox_id = new_id()
    parent = config.linux.cgroup_parent or runtime.settings.default_cgroup_parent.format(id=sandbox_id)
    facts = SandboxFacts(
        created_at=now_ns(),
        requested_handler=requested_handler,
        handler=handler.runtime.name,
        cgroup_parent=parent,
        cgroup_is_ours=_is_ours(runtime, parent),
    )
    return Sandbox(sandbox_id, config, facts, SandboxStatus(phase="creating", restoring=restoring))


def _is_ours(runtime: Runtime, parent: str) -> bool:
    """Whether nobody made the cgroup yet, or a sandbox did that has the same parent. systemd removes slices that are
    empty by itself.
    """
    if runtime.host.driver == "systemd":
        return False
    sharing = (s for s in runtime.index.sandboxes.values() if s.facts.cgroup_parent == parent)
    return not runtime.host.cgroups.exists(parent) or any(sandbox.facts.cgroup_is_ours for sandbox in sharing)


def _enter_resources(runtime: Runtime, sandbox: Sandbox, pins: Mapping[Kind, str]) -> list[Statement]:
    """All that the sandbox will have on the host, in the order in which it is made."""
    paths, config = runtime.paths, sandbox.config
    made: list[tuple[ResourceKind, Mapping[str, str]]] = [("directory", {"path": paths.sandbox(sandbox.id)})]
    if sandbox.facts.cgroup_is_ours:
        path = sandbox.facts.cgroup_parent
        made.append(("cgroup", {"path": path, "up_to": runtime.host.cgroups.nearest(os.path.dirname(path))}))
    elif runtime.host.driver == "cgroupfs" and runtime.host.cgroups.mode == "hybrid":
        made.append(("shadow", {"path": sandbox.facts.cgroup_parent}))
    if "ipc" in pins:
        made.append(("mount", {"path": view.shm(paths, sandbox.id, config)}))
    made += [("pin", {"kind": kind, "path": path}) for kind, path in pins.items()]
    if "net" in pins:
        made.append(("network", {}))
    if view.shares_pid_namespace(config):
        container: dict[str, str] = {
            "handler": sandbox.facts.handler,
            "id": sandbox.id,
            "bundle": paths.infra_bundle(sandbox.id),
            "cgroup": resources.cgroup(sandbox.facts.cgroup_parent, sandbox.id, runtime.host.driver),
        }
        made += [("container", container), ("pin", {"kind": "pid", "path": paths.pin(sandbox.id, "pid")})]
    return runtime.ledger.enter(sandbox.id, *made)


def _make_files(runtime: Runtime, sandbox: Sandbox) -> None:
    config = sandbox.config
    directory = runtime.paths.sandbox(sandbox.id)
    os.mkdir(directory, 0o711)
    dns = _dns(config)
    hostname = config.hostname or os.uname().nodename
    texts = {"resolv.conf": resolv_conf(dns), "hosts": HOSTS, "hostname": hostname + "\n"}
    owner = view.root_of(config)
    for name, text in texts.items():
        with open(f"{directory}/{name}", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
            os.fchown(file.fileno(), *owner)
    shm = view.shm(runtime.paths, sandbox.id, config)
    if shm.startswith(directory):
        os.mkdir(shm)
        mounts.tmpfs(shm, size=runtime.settings.shm_bytes, mode=0o1777)
        os.chown(shm, *owner)


def _make_namespaces(sandbox: Sandbox, pins: Mapping[Kind, str]) -> None:
    linux = sandbox.config.linux
    users = linux.security_context.namespace_options.userns_options
    wanted = Wanted(
        pins=pins,
        hostname=sandbox.config.hostname,
        sysctls=sysctls.effective(linux),
        uids=oci_namespaces.mappings(users.uids),
        gids=oci_namespaces.mappings(users.gids),
    )
    try:
        namespaces.create(wanted)
    except namespaces.SysctlError as error:
        raise InvalidArgument(f'linux.sysctls: "{error.filename}": {error.strerror}') from None


def _dns(config: v1.PodSandboxConfig) -> Dns | None:
    if not config.HasField("dns_config"):
        return None
    dns = config.dns_config
    return Dns(tuple(dns.servers), tuple(dns.searches), tuple(dns.options))


_PROTOCOLS: Mapping[v1.Protocol, Literal["tcp", "udp", "sctp"]] = {v1.TCP: "tcp", v1.UDP: "udp", v1.SCTP: "sctp"}


def _attach_request(
    config: v1.PodSandboxConfig, *, sandbox_id: str = "", netns: str = "", cgroup_parent: str = ""
) -> AttachRequest:
    """What the sandbox wants of its network. Raises InvalidArgument for a protocol that is none."""
    for index, mapping in enumerate(config.port_mappings):
        if mapping.protocol not in _PROTOCOLS:
            raise InvalidArgument(f"port_mappings[{index}].protocol: there is no protocol {mapping.protocol}")
    return AttachRequest(
        sandbox_id=sandbox_id,
        netns=netns,
        name=config.metadata.name,
        namespace=config.metadata.namespace,
        uid=config.metadata.uid,
        annotations=dict(config.annotations),
        port_mappings=[
            PortMapping(m.container_port, m.host_port, _PROTOCOLS[m.protocol], m.host_ip) for m in config.port_mappings
        ],
        dns=_dns(config),
        cgroup_parent=cgroup_parent,
    )


async def _attach(runtime: Runtime, sandbox: Sandbox, pins: Mapping[Kind, str]) -> None:
    """Attaches the sandbox to its network, unless it has the host's."""
    if "net" not in pins:
        return
    request = _attach_request(
        sandbox.config, sandbox_id=sandbox.id, netns=pins["net"], cgroup_parent=sandbox.facts.cgroup_parent
    )
    with step("sandbox.network", sandbox.id):
        attachment = await runtime.network.attach(request)
    await runtime.index.update_sandbox(sandbox, ips=attachment.ips)


async def _start_infra(runtime: Runtime, sandbox: Sandbox, handler: Handler) -> None:
    """Runs process 1 of the PID namespace that the containers will share, if they will, and pins the namespace."""
    if not view.shares_pid_namespace(sandbox.config):
        return
    with step("sandbox.infra", sandbox.id):
        await _make_infra(runtime, sandbox, handler)


async def _make_infra(runtime: Runtime, sandbox: Sandbox, handler: Handler) -> None:
    bundle = runtime.paths.infra_bundle(sandbox.id)
    await asyncio.to_thread(_make_infra_bundle, runtime, sandbox, handler, bundle)
    process = await handler.runtime.run_detached(sandbox.id, bundle)
    await asyncio.to_thread(namespaces.pin, f"/proc/{process.pid}/ns/pid", runtime.paths.pin(sandbox.id, "pid"))
    await runtime.index.update_sandbox(sandbox, infra=process)


def _make_infra_bundle(runtime: Runtime, sandbox: Sandbox, handler: Handler, bundle: str) -> None:
    rootfs = f"{bundle}/rootfs"
    infra.make_rootfs(rootfs)
    notes: list[str] = []
    described = view.sandbox_view(runtime.paths, sandbox)
    document = infra.build(described, runtime.settings.infra_program, rootfs, runtime.host, handler.features, notes)
    documents.write(document, f"{bundle}/config.json")
    for note in notes:
        logger.info("infra process of sandbox %s: %s", sandbox.title, note)


async def _undo(runtime: Runtime, sandbox: Sandbox, cause: BaseException) -> None:
    """Leaves nothing behind; what cannot be undone now is noted with the cause, and tidy.py tries again."""
    try:
        await abandon_sandbox(runtime, sandbox)
    except PodwrightError as error:
        cause.add_note(f"and it could not be undone yet: {error}")


async def abandon_sandbox(runtime: Runtime, sandbox: Sandbox) -> None:
    """Removes a sandbox that never became ready, or that nobody has been told of. The caller holds its lock."""
    if sandbox.status.phase != "creating":  # else the next daemon, after a crash, would take it for whole
        await runtime.index.update_sandbox(sandbox, phase="creating")
    await runtime.nri.undo_sandbox(sandbox)
    await runtime.ledger.release(sandbox.id)
    await runtime.index.drop_sandbox(sandbox)
