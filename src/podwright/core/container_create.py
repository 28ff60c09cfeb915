"""CreateContainer: root file system, specification, and a process that waits to be started, watched by its conmon."""

import asyncio
import logging
import os
from collections.abc import Mapping
from typing import Any

from podwright.clock import now_ns
from podwright.core import container_attach, container_image, container_restore, exits, view
from podwright.core.checkpoint_files import Checkpoint
from podwright.core.container_log import make_log
from podwright.core.container_mounts import find_image, find_volumes, make_host_paths, mount_rootfs, mount_volumes
from podwright.core.container_remove import abandon_container, remove_by_id, remove_container
from podwright.core.runtime import Handler, Runtime
from podwright.cri import v1
from podwright.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PodwrightError,
)
from podwright.ids import new_id
from podwright.images.model import Image
from podwright.oci import conmon, documents, resources, selinux, signals, spec, validate, volumes
from podwright.oci.documents import Document
from podwright.oci.inputs import ContainerInput
from podwright.state.records import Container, ContainerFacts, ContainerStatus, Sandbox, User, container_name
from podwright.state.store import Statement
from podwright.trace import step

logger = logging.getLogger(__name__)


async def create_container(runtime: Runtime, sandbox: Sandbox, config: v1.ContainerConfig) -> str:
    """Makes a container and returns its id. On failure nothing of it is left.

    What only the OCI runtime finds out about the request, such as a command that is not in the image, is told by
    StartContainer: then it has exited, and is restarted, or not, and counted as its pod wishes, whereas kubelets would
    try for ever to create it. So does containerd.

    Asking again for the same container joins the work under way or takes its result (operations.py). Raises
    InvalidArgument, AlreadyExists, NotFound if the image is not on the node, FailedPrecondition if the sandbox is not
    ready.
    """
    handler = runtime.handler_of(sandbox)
    validate.container(config, sandbox.config, handler.features)
    _check_ready(sandbox)
    image = find_image(runtime, config.image.image)
    with runtime.images.lease(image.id):
        container_id = await runtime.operations.make(
            container_name(config.metadata, sandbox),
            config.SerializeToString(deterministic=True),
            lambda: make_container(runtime, sandbox, config, image, handler),
            lambda container_id: remove_by_id(runtime, container_id),
        )
    container = runtime.index.containers.get(container_id)
    if container is None:
        raise Aborted(f"the new container was removed with its sandbox {sandbox.title}")
    runtime.index.show(container)
    return container_id


def _check_ready(sandbox: Sandbox) -> None:
    if sandbox.status.phase != "ready":
        raise FailedPrecondition(f"sandbox {sandbox.title} is not ready: containers need a ready one")


async def make_container(
    runtime: Runtime,
    sandbox: Sandbox,
    config: v1.ContainerConfig,
    image: Image,
    handler: Handler,
    checkpoint: Checkpoint | None = None,
) -> str:
    """Makes a container whose configuration is valid, or makes one out of a checkpoint. On failure nothing of it is
    left.
    """
    await _make_way(runtime, container_name(config.metadata, sandbox))
    notes: list[str] = []
    volumes = find_volumes(runtime, config)
    container = _record(sandbox, config, image, volumes, handler, notes, restores=checkpoint is not None)
    container.fetched = False
    async with container.lock:
        try:
            await runtime.index.add_container(container, *_enter_resources(runtime, container))
            with step("container.rootfs", container.id):
                await asyncio.to_thread(_make_directories, runtime, container)
                if checkpoint is not None:
                    await container_restore.fill(runtime, container, checkpoint)
                await asyncio.to_thread(mount_rootfs, runtime, container, image)
                sources = await asyncio.to_thread(mount_volumes, runtime, container, volumes)
                if runtime.settings.create_host_paths:
                    await asyncio.to_thread(make_host_paths, config)
            async with runtime.nri.creation():
                with step("container.spec", container.id):
                    built = await asyncio.to_thread(_build, runtime, container, image, sources, handler)
                    limits = await _ask_plugins(runtime, container, built, notes)
                    await asyncio.to_thread(_write_bundle, runtime, container, built, checkpoint)
                    await _prepare_host_paths(runtime, container, built)
                made = {} if checkpoint is not None else await _create(runtime, container, handler, built)
                await runtime.index.update_container(
                    container,
                    phase="created",
                    user=_user(built.spec),
                    resources=limits.SerializeToString(),
                    **made,
                )
            _check_ready(sandbox)  # it may have been stopped meanwhile
            if container.status.process is not None:
                exits.watch_container(runtime, container)
        except BaseException as error:
            await _undo(runtime, container, error)
            raise
        await runtime.nri.post_create_container(container)
    for note in (*notes, *built.notes):
        logger.info("container %s: %s", container.title, note)
    refusal = container.status.refusal
    logger.info("container %s is created%s", container.title, f", but: {refusal}" if refusal else "")
    return container.id


async def _make_way(runtime: Runtime, name: str) -> None:
    """Finishes what is on its way out under this name, or was never fetched and could not be disposed of. Raises
    AlreadyExists if a container has the name.
    """
    holder = runtime.index.containers.get(runtime.index.holder(name) or "")
    if holder is None:
        return
    if holder.status.phase in ("creating", "removing") or not holder.fetched:
        await remove_container(runtime, holder)
    else:
        raise AlreadyExists(f'a container with this name and attempt exists in its sandbox: "{holder.id}"')


def _record(
    sandbox: Sandbox,
    config: v1.ContainerConfig,
    image: Image,
    volumes: Mapping[int, Image],
    handler: Handler,
    notes: list[str],
    *,
    restores: bool,
) -> Container:
    directory = sandbox.config.log_directory
    stop = signals.stop_signal(config.stop_signal, image.config.stop_signal, notes)
    image_name, image_ref = container_image.names(image, config.image)
    facts = ContainerFacts(
        created_at=now_ns(),
        handler=handler.runtime.name,
        image_id=image.id,
        image_name=image_name,
        image_ref=image_ref,
        image_volumes={number: volume.id for number, volume in volumes.items()},
        log_path=os.path.join(directory, config.log_path) if directory and config.log_path else "",
        stop_signal=stop.number,
        cri_stop_signal=stop.cri,
        restores=restores,
    )
    return Container(new_id(), sandbox, config, facts, ContainerStatus(phase="creating"))


def _enter_resources(runtime: Runtime, container: Container) -> list[Statement]:
    """All that the container will have on the host, in the order in which it is made."""
    paths = runtime.paths
    parent = container.sandbox.facts.cgroup_parent
    process = _process(runtime, container, resources.cgroup(parent, container.id, runtime.host.driver))
    return runtime.ledger.enter(
        container.id,
        ("directory", {"path": paths.container(container.id)}),
        ("directory", {"path": paths.bundle(container.id)}),
        ("mount", {"path": paths.mapped_layers(container.id)}),
        ("mount", {"path": paths.rootfs(container.id)}),
        *(("mount", {"path": paths.image_volume(container.id, number)}) for number in container.facts.image_volumes),
        ("container", process),
    )


def _process(runtime: Runtime, container: Container, cgroup: str) -> Mapping[str, str]:
    """What the ledger has to know of the container's processes."""
    bundle = runtime.paths.bundle(container.id)
    return {"handler": container.facts.handler, "id": container.id, "bundle": bundle, "cgroup": cgroup}


def _make_directories(runtime: Runtime, container: Container) -> None:
    own, bundle = runtime.paths.container(container.id), runtime.paths.bundle(container.id)
    for directory in (own, f"{own}/upper", f"{own}/work", f"{own}/volumes", bundle, f"{bundle}/rootfs"):
        os.mkdir(directory, 0o755)
    os.chmod(own, 0o711)


def _build(
    runtime: Runtime, container: Container, image: Image, sources: Mapping[int, str], handler: Handler
) -> spec.Built:
    described = ContainerInput(
        id=container.id,
        config=container.config,
        sandbox=view.sandbox_view(runtime.paths, container.sandbox),
        image=image.config,
        rootfs=f"{runtime.paths.bundle(container.id)}/rootfs",
        volumes=f"{runtime.paths.container(container.id)}/volumes",
        image_mounts=sources,
        target_pid_namespace=_target(runtime, container),
        ulimits=_ulimits(runtime),
        own_directories=(runtime.paths.state, runtime.paths.root),
    )
    return spec.build(described, runtime.host, handler.features)


async def _ask_plugins(
    runtime: Runtime, container: Container, built: spec.Built, notes: list[str]
) -> v1.LinuxContainerResources:
    """Has plugins adjust the container; returns its limits. Raises FailedPrecondition, InvalidArgument."""
    planned = built.spec["linux"]["cgroupsPath"]
    limits = await runtime.nri.create_container(container, built.spec, container.config.linux.resources, notes)
    path = built.spec["linux"]["cgroupsPath"]
    if path != planned:
        moved = _process(runtime, container, resources.cgroup_at(path, runtime.host.driver))
        await runtime.store.write(*runtime.ledger.enter(container.id, ("container", moved)))
    return limits


def _write_bundle(runtime: Runtime, container: Container, built: spec.Built, checkpoint: Checkpoint | None) -> None:
    bundle = runtime.paths.bundle(container.id)
    if checkpoint is not None:
        container_restore.check(checkpoint, built.spec)
        container_restore.add_criu_config(built.spec, bundle)
    documents.write(built.spec, f"{bundle}/config.json")
    if container.facts.log_path:
        try:
            make_log(container.facts.log_path)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InvalidArgument(f'log_path: "{container.config.log_path}": {error}') from None


async def _prepare_host_paths(runtime: Runtime, container: Container, built: spec.Built) -> None:
    for volume in () if container.facts.restores else built.volumes:  # those of a checkpoint are there already
        await volumes.make(volume, runtime.paths.rootfs(container.id))
    for path in built.relabel:
        await asyncio.to_thread(selinux.relabel, path, built.spec["linux"]["mountLabel"])


def _target(runtime: Runtime, container: Container) -> str | None:
    """The PID namespace of the container that this one wants to see the processes of. Raises as create_container
    does.
    """
    options = container.config.linux.security_context.namespace_options
    if options.pid != v1.TARGET:
        return None
    try:
        target = runtime.index.container(options.target_id)
    except NotFound as error:
        raise NotFound(f"linux.security_context.namespace_options.target_id: {error}") from None
    if target.sandbox is not container.sandbox:
        raise InvalidArgument(
            f'linux.security_context.namespace_options.target_id: container "{target.id}" is in another sandbox'
        )
    if target.status.phase != "running" or target.status.process is None:
        raise FailedPrecondition(f"the target container {target.title} is {target.status.phase}, not running")
    return f"/proc/{target.status.process.pid}/ns/pid"


def _ulimits(runtime: Runtime) -> dict[str, tuple[int, int]]:
    wanted = runtime.settings.open_files
    return {"RLIMIT_NOFILE": (wanted, wanted)} if wanted else {}


def _user(document: Document) -> User:
    user = document["process"]["user"]
    return User(user["uid"], user["gid"], tuple(user.get("additionalGids", ())))


async def _create(runtime: Runtime, container: Container, handler: Handler, built: spec.Built) -> dict[str, Any]:
    """What its status has to say of the process and its conmon; or why there can be none, and then nothing of them is
    left.
    """
    try:
        with step("container.create", container.id):
            made = await conmon.create(creation(runtime, container, handler, built.spec["process"]["args"][0]))
            cgroup = await asyncio.to_thread(runtime.host.cgroups.of_process, made.container.pid)
            return {"process": made.container, "monitor": made.monitor, "cgroup": cgroup}
    except InvalidArgument as error:
        refusal = str(error)
    except Internal:
        _check_ready(container.sandbox)  # its namespaces may have gone meanwhile
        raise
    await runtime.ledger.release(container.id, {"container"})
    return {"refusal": refusal}


def creation(runtime: Runtime, container: Container, handler: Handler, executable: str = "") -> conmon.Creation:
    """What its conmon has to know."""
    config = container.config
    return conmon.Creation(
        program=runtime.settings.conmon,
        runtime=handler.runtime,
        container_id=container.id,
        name=config.metadata.name,
        executable=executable,
        bundle=runtime.paths.bundle(container.id),
        exits=runtime.paths.exits,
        log_path=container.facts.log_path,
        stdin=config.stdin,
        stdin_once=container_attach.is_closed_after(config),
        terminal=config.tty,
        images=container_restore.images(runtime, container) if container.facts.restores else "",
    )


async def _undo(runtime: Runtime, container: Container, cause: BaseException) -> None:
    """Leaves nothing behind; what cannot be undone now is noted with the cause, and tidy.py tries again."""
    try:
        await abandon_container(runtime, container)
    except PodwrightError as error:
        cause.add_note(f"and it could not be undone yet: {error}")
