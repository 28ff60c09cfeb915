"""Records as CRI messages: what lists, statuses and events show of sandboxes and containers."""

from podwright.cri import v1
from podwright.state.records import Container, ContainerPhase, Sandbox

_STATES: dict[ContainerPhase, v1.ContainerState] = {
    "created": v1.CONTAINER_CREATED,
    "starting": v1.CONTAINER_CREATED,
    "running": v1.CONTAINER_RUNNING,
    "exited": v1.CONTAINER_EXITED,
    "removing": v1.CONTAINER_EXITED,
}


def sandbox_state(sandbox: Sandbox) -> v1.PodSandboxState:
    """READY until it is stopped."""
    return v1.SANDBOX_READY if sandbox.status.phase == "ready" else v1.SANDBOX_NOTREADY


def container_state(container: Container) -> v1.ContainerState:
    """CREATED until its command runs, EXITED for good after that."""
    return _STATES[container.status.phase]


def listed_sandbox(sandbox: Sandbox) -> bytes:
    """The sandbox as an item of ListPodSandboxResponse: field 1, serialised. Kept until the status changes."""
    if sandbox.listed is None:
        config = sandbox.config
        item = v1.PodSandbox(
            id=sandbox.id,
            metadata=config.metadata,
            state=sandbox_state(sandbox),
            created_at=sandbox.facts.created_at,
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=sandbox.facts.requested_handler,
        )
        # A message that is a list of one is framed as in a list of many: fields of protobuf can be concatenated.
        sandbox.listed = v1.ListPodSandboxResponse(items=[item]).SerializeToString()
    return sandbox.listed


def listed_container(container: Container) -> bytes:
    """The container as an item of ListContainersResponse: field 1, serialised. Kept until the status changes."""
    if container.listed is None:
        config = container.config
        item = v1.Container(
            id=container.id,
            pod_sandbox_id=container.sandbox.id,
            metadata=config.metadata,
            image=config.image,
            image_ref=container.facts.image_id,
            image_id=container.facts.image_id,
            state=container_state(container),
            created_at=container.facts.created_at,
            labels=config.labels,
            annotations=config.annotations,
        )
        container.listed = v1.ListContainersResponse(containers=[item]).SerializeToString()
    return container.listed


def sandbox_status(sandbox: Sandbox) -> v1.PodSandboxStatus:
    """The sandbox in full."""
    config = sandbox.config
    options = config.linux.security_context.namespace_options
    # Without addresses it is empty, not missing: kubelets would warn each time they look at such a pod.
    primary, *others = sandbox.status.ips or ("",)
    network = v1.PodSandboxNetworkStatus(ip=primary, additional_ips=[v1.PodIP(ip=ip) for ip in others])
    return v1.PodSandboxStatus(
        id=sandbox.id,
        metadata=config.metadata,
        state=sandbox_state(sandbox),
        created_at=sandbox.facts.created_at,
        network=network,
        linux=v1.LinuxPodSandboxStatus(namespaces=v1.Namespace(options=options)),
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=sandbox.facts.requested_handler,
    )


def container_statuses(sandbox: Sandbox) -> list[v1.ContainerStatus]:
    """Those of its containers, the newest first: kubelets with Evented PLEG take the first of a name for the one that
    counts.
    """
    visible = [container for container in sandbox.containers.values() if container.visible]
    return [
        container_status(container) for container in sorted(visible, key=lambda c: c.facts.created_at, reverse=True)
    ]


def _mounts(container: Container) -> list[v1.Mount]:
    """The mounts as they were asked for, with the ids of images."""
    shown = []
    for number, mount in enumerate(container.config.mounts):
        copy = v1.Mount()
        copy.CopyFrom(mount)
        if number in container.facts.image_volumes:
            copy.image.image_ref = container.facts.image_volumes[number]
        shown.append(copy)
    return shown


def container_status(container: Container) -> v1.ContainerStatus:
    """The container in full."""
    config, facts, status = container.config, container.facts, container.status
    user = None
    if status.user is not None:
        ids = v1.LinuxContainerUser(uid=status.user.uid, gid=status.user.gid, supplemental_groups=status.user.groups)
        user = v1.ContainerUser(linux=ids)
    resources = v1.LinuxContainerResources.FromString(status.resources)
    image = v1.ImageSpec()
    image.CopyFrom(config.image)
    image.image = facts.image_name
    return v1.ContainerStatus(
        id=container.id,
        metadata=config.metadata,
        state=container_state(container),
        created_at=facts.created_at,
        started_at=0 if status.phase == "starting" else status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        image=image,
        image_ref=facts.image_ref,
        image_id=facts.image_id,
        reason=status.reason,
        message=status.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=_mounts(container),
        log_path=facts.log_path,
        resources=v1.ContainerResources(linux=resources),
        user=user,
        stop_signal=v1.Signal.Name(facts.cri_stop_signal),
    )
