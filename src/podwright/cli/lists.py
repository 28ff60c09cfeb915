"""`podwright pods` and `podwright ps`."""

import argparse
import collections
from collections.abc import Iterable, Mapping
from typing import Final

from podwright.cli.connection import connect
from podwright.cli.humans import age
from podwright.cli.inventory import DEFAULT_NAMESPACE, Container, Inventory, Pod
from podwright.cli.output import Cell, Column, show
from podwright.client import Client
from podwright.clock import now_ns
from podwright.cri import v1
from podwright.errors import NotFound
from podwright.ids import short

_STYLES: Final = {
    v1.CONTAINER_CREATED: ("created", "yellow"),
    v1.CONTAINER_RUNNING: ("running", "green"),
    v1.CONTAINER_EXITED: ("exited", "dim"),
    v1.CONTAINER_UNKNOWN: ("unknown", "magenta"),
}


def pods(options: argparse.Namespace) -> int:
    """Lists pods, the newest first."""
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        shown = [
            pod
            for pod in inventory.pods
            if (pod.ready or not options.ready) and _is_wanted(options, pod.namespace, pod.listed.labels)
        ]
        addresses = {pod.id: _address(cri, pod) for pod in shown} if options.output == "wide" else {}
    now, wide = now_ns(), options.output == "wide"
    columns: tuple[Column[Pod], ...] = (
        Column("NAME", lambda pod: Cell(pod.name, "bold")),
        Column("NAMESPACE", lambda pod: pod.namespace),
        Column("STATE", lambda pod: Cell("ready", "green") if pod.ready else Cell("not ready", "dim")),
        Column("CONTAINERS", lambda pod: _counts(inventory.by_pod.get(pod.id, ()))),
        Column("AGE", lambda pod: age(pod.created_ns, now), right=True),
        Column("ADDRESS", lambda pod: addresses[pod.id], wide=True),
        Column("HANDLER", lambda pod: pod.listed.runtime_handler, wide=True),
        Column("ATTEMPT", lambda pod: str(pod.listed.metadata.attempt), wide=True, right=True),
        Column("ID", lambda pod: Cell(pod.id if wide else short(pod.id), "cyan")),
    )
    show(shown, columns, options.output, title="items", identify=lambda pod: pod.id, message=lambda pod: pod.listed)
    return 0


def containers(options: argparse.Namespace) -> int:
    """Lists containers, the newest first."""
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        labels = {pod.id: pod.listed.labels for pod in inventory.pods}
        shown = [
            container
            for container in inventory.containers
            if (container.running or options.all)
            and _is_wanted(options, container.namespace, container.listed.labels, labels.get(container.pod_id, {}))
        ]
        if options.pod is not None:
            pod = inventory.pod(options.pod)
            shown = [container for container in shown if container.pod_id == pod.id]
        table = options.output in {"table", "wide"}
        ended = {container.id: _ended(cri, container) for container in shown} if table else {}
        images = _image_names(cri, shown) if table else {}
    now, wide = now_ns(), options.output == "wide"
    columns: tuple[Column[Container], ...] = (
        Column("NAME", lambda item: Cell(item.name, "bold")),
        Column("POD", _pod_name),
        Column("STATE", lambda item: _state(item, ended.get(item.id), now)),
        Column("AGE", lambda item: age(item.created_ns, now), right=True),
        Column("IMAGE", lambda item: images.get(item.listed.image.image, item.listed.image.image)),
        Column("ATTEMPT", lambda item: str(item.listed.metadata.attempt), wide=True, right=True),
        Column("IMAGE ID", lambda item: item.listed.image_id or item.listed.image_ref, wide=True),
        Column("POD ID", lambda item: item.pod_id, wide=True),
        Column("ID", lambda item: Cell(item.id if wide else short(item.id), "cyan")),
    )
    show(
        shown,
        columns,
        options.output,
        title="containers",
        identify=lambda item: item.id,
        message=lambda item: item.listed,
    )
    return 0


def _is_wanted(options: argparse.Namespace, namespace: str, *labels: Mapping[str, str]) -> bool:
    """Whether the namespace is the one asked for, and each label asked for is among these."""
    if options.namespace not in {None, namespace}:
        return False
    pairs = [text.partition("=") for text in options.labels]
    return all(
        any(key in those and (not equals or those[key] == value) for those in labels) for key, equals, value in pairs
    )


def _address(cri: Client, pod: Pod) -> str:
    try:
        network = cri.pod_sandbox_status(pod.id).status.network
    except NotFound:  # removed since it was listed
        return ""
    return ",".join(filter(None, [network.ip, *(other.ip for other in network.additional_ips)]))


def _counts(members: Iterable[Container]) -> str:
    """Such as: 2 running, 1 exited."""
    counts = collections.Counter(_STYLES[container.listed.state][0] for container in members)
    return ", ".join(f"{counts[name]} {name}" for name, _ in _STYLES.values() if counts[name])


def _pod_name(container: Container) -> str:
    hidden = container.namespace in {"", DEFAULT_NAMESPACE}
    return container.pod_name if hidden else f"{container.namespace}/{container.pod_name}"


def _ended(cri: Client, container: Container) -> v1.ContainerStatus | None:
    """How a container has ended; lists do not tell."""
    if container.listed.state != v1.CONTAINER_EXITED:
        return None
    try:
        return cri.container_status(container.id).status
    except NotFound:
        return None


def _state(container: Container, ended: v1.ContainerStatus | None, now: int) -> Cell:
    name, style = _STYLES[container.listed.state]
    if ended is None:
        return Cell(name, style)
    why = f", {ended.reason}" if ended.reason not in {"", "Completed", "Error"} else ""
    return Cell(
        f"{name} ({ended.exit_code}{why}) {age(ended.finished_at, now)} ago", "red" if ended.exit_code else style
    )


def _image_names(cri: Client, shown: Iterable[Container]) -> dict[str, str]:
    """Names for those images that kubelets gave by their id."""
    if not any(container.listed.image.image.startswith("sha256:") for container in shown):
        return {}
    return {image.id: image.repo_tags[0] for image in cri.list_images().images if image.repo_tags}
