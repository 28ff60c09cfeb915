"""Making and starting one container of a pod: image, environment, mounts, creation, start, postStart."""

import asyncio
import contextlib
import dataclasses
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from podwright.cri import v1
from podwright.errors import InvalidArgument, PodwrightError
from podwright.node import hooks, sandbox, termination, volumes
from podwright.node.context import Node
from podwright.node.errors import Waiting
from podwright.node.events import About
from podwright.node.node_pods import NodePod
from podwright.node.observed import SeenPod
from podwright.node.plan import HASH, Start, content_hash
from podwright.node.pull_secrets import credentials
from podwright.node.resources import complete
from podwright.pods import environment, translate
from podwright.pods import volumes as pod_volumes
from podwright.pods.objects import Objects
from podwright.pods.schema import Container, EphemeralContainer

logger = logging.getLogger(__name__)

_GRACE: Final = "io.kubernetes.pod.terminationGracePeriod"


@dataclass(frozen=True, slots=True)
class Given:
    """What all containers of a pod are given."""

    pod: NodePod
    seen: SeenPod
    objects: Objects
    secrets: list[Mapping[str, bytes]]
    volumes: Mapping[str, str]
    """Host paths by the volumes' names."""
    config: v1.PodSandboxConfig


async def start(node: Node, given: Given, wanted: Start) -> None:
    """Makes a container run. Raises Waiting with what its status is to say; events are told."""
    pod, container = given.pod, wanted.container
    about = About.pod(pod, wanted.path, container.name)
    image = await _image(node, given, container.image, container.image_pull_policy, about)
    try:
        config = await asyncio.to_thread(_config, node, given, wanted, image)
    except (InvalidArgument, OSError) as error:
        node.recorder.tell(about, "Warning", "Failed", f"Error: {error}")
        raise Waiting("CreateContainerConfigError", str(error)) from None
    assert given.seen.sandbox is not None
    try:
        answer = await node.cri.create_container(given.seen.sandbox.id, config, sandbox_config=given.config)
        container_id = answer.container_id
    except PodwrightError as error:
        node.recorder.tell(about, "Warning", "Failed", f"Error: {error}")
        raise Waiting("CreateContainerError", str(error)) from None
    node.recorder.tell(about, "Normal", "Created", f"Container created: {container.name}")
    try:
        await node.cri.start_container(container_id)
    except PodwrightError as error:
        node.recorder.tell(about, "Warning", "Failed", f"Error: {error}")
        raise Waiting("RunContainerError", str(error)) from None
    node.recorder.tell(about, "Normal", "Started", f"Container started: {container.name}")
    await asyncio.to_thread(_link_log, node, given, config, container_id)
    if container.lifecycle is not None and container.lifecycle.post_start is not None:
        await _post_start(node, given, container, container_id, about)


async def ensure_image_volumes(node: Node, given: Given) -> None:
    """Pulls the images that are volumes. Raises Waiting."""
    for volume in given.pod.pod.spec.volumes:
        if volume.image is not None:
            about = About.pod(given.pod)
            await _image(node, given, volume.image.reference, volume.image.pull_policy, about)


async def _image(node: Node, given: Given, name: str, policy: str, about: About) -> v1.Image:
    auths = []
    if given.secrets:
        with contextlib.suppress(InvalidArgument):  # of a name that is no image's; `ensure` says so
            auths = credentials(name, given.secrets)
    return await node.images.ensure(name, policy, about, auths, given.config)


def _config(node: Node, given: Given, wanted: Start, image: v1.Image) -> v1.ContainerConfig:
    """What CreateContainer is asked for. Blocks: makes files. Raises InvalidArgument that names the field."""
    pod, container, path = given.pod.pod, wanted.container, wanted.path
    places = node.places.pod(given.pod.uid, given.pod.namespace, given.pod.name)
    about = sandbox.facts(node, given.pod, given.seen)
    objects = given.objects
    if pod.spec.enable_service_links is False:
        own = {name: text for name, text in objects.services.items() if name.startswith("KUBERNETES_")}
        objects = dataclasses.replace(objects, services=own)
    variables = environment.environment(container, objects, about, path)
    names = {path: name for name, path in given.volumes.items()}
    safely = volumes.safe_sub_path(places, names, container.name)
    mounts = pod_volumes.mounts(pod, container, given.volumes, variables, path, safely)
    if all(mount.container_path != "/etc/hosts" for mount in mounts):
        mounts.append(v1.Mount(container_path="/etc/hosts", host_path=sandbox.write_hosts(node, given.pod, given.seen)))
    if container.termination_message_path:
        file = termination.make_file(places.messages(container.name))
        mounts.append(v1.Mount(container_path=container.termination_message_path, host_path=file))
    config = translate.container(
        about,
        container,
        image=image,
        environment=variables,
        mounts=mounts,
        attempt=wanted.attempt,
        where=path,
        annotations={
            HASH: content_hash(container),
            termination.PATH: container.termination_message_path,
            termination.POLICY: container.termination_message_policy or "File",
            _GRACE: str(pod.spec.termination_grace_period_seconds),
        },
    )
    complete(config.linux.resources, pod, container, node.machine.memory)
    if isinstance(container, EphemeralContainer) and container.target_container_name:
        options = config.linux.security_context.namespace_options
        options.pid, options.target_id = v1.TARGET, _target(given.seen, container.target_container_name)
    os.makedirs(f"{places.logs}/{container.name}", mode=0o755, exist_ok=True)
    return config


def _target(seen: SeenPod, name: str) -> str:
    """The container whose processes another one is to see. Raises InvalidArgument."""
    found = seen.current(name)
    if found is None or not found.running:
        raise InvalidArgument(f'targetContainerName: container "{name}" does not run')
    return found.id


def _link_log(node: Node, given: Given, config: v1.ContainerConfig, container_id: str) -> None:
    """The link by which collectors find the log."""
    pod = given.pod
    link = node.places.log_link(pod.name, pod.namespace, config.metadata.name, container_id)
    try:
        os.makedirs(node.places.log_links, mode=0o755, exist_ok=True)
        os.symlink(f"{given.config.log_directory}/{config.log_path}", link)
    except OSError as error:
        logger.warning("log link %s cannot be made: %s", link, error)


async def _post_start(node: Node, given: Given, container: Container, container_id: str, about: About) -> None:
    """A hook that fails kills the container; until it is through nothing else is started (the API's words)."""
    assert container.lifecycle is not None
    assert container.lifecycle.post_start is not None
    address = given.seen.addresses[0] if given.seen.addresses else node.addresses[0]
    outcome = await hooks.run(node.cri, container.lifecycle.post_start, container, container_id, address)
    if outcome.good:
        return
    node.recorder.tell(about, "Warning", "FailedPostStartHook", f"PostStartHook failed: {outcome.output}")
    await node.cri.stop_container(container_id, timeout=given.pod.grace)
    raise Waiting("PostStartHookError", outcome.output)
