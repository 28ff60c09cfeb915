"""Ending what runs of a pod: preStop hooks, grace periods, the order of sidecars, and the sandbox at last."""

import asyncio
import logging
import time
from typing import Final

from podwright.errors import NotFound, PodwrightError
from podwright.node import hooks
from podwright.node.context import Node
from podwright.node.events import About
from podwright.node.node_pods import NodePod
from podwright.node.observed import SeenContainer, SeenPod
from podwright.node.plan import is_sidecar
from podwright.pods.check import all_containers
from podwright.pods.schema import Container

logger = logging.getLogger(__name__)

_LEAST: Final = 2  # seconds: a container has them even when its hook took all of the grace period


async def stop_container(
    node: Node, pod: NodePod, found: SeenContainer, grace: int, reason: str = "", addresses: tuple[str, ...] = ()
) -> None:
    """Stops one container: its hook first, then its signal, and what is left of `grace` seconds in between.

    Raises what the runtime answers; a container that is gone is a success.
    """
    path, wanted = _wanted(pod, found)
    about = About.pod(pod, path, found.name)
    node.recorder.tell(about, "Normal", "Killing", reason or f"Stopping container {found.name}")
    ends = time.monotonic() + grace
    if wanted is not None and wanted.lifecycle is not None and wanted.lifecycle.pre_stop is not None and grace > 0:
        address = addresses[0] if addresses else node.addresses[0]
        try:
            async with asyncio.timeout(grace):
                outcome = await hooks.run(node.cri, wanted.lifecycle.pre_stop, wanted, found.id, address)
            failure = "" if outcome.good else outcome.output
        except TimeoutError:
            failure = f"took longer than the grace period of {grace} s"
        if failure:
            node.recorder.tell(about, "Warning", "FailedPreStopHook", f"PreStopHook failed: {failure}")
    left = max(_LEAST, round(ends - time.monotonic())) if grace else 0
    try:
        await node.cri.stop_container(found.id, timeout=left)
    except NotFound:
        return


async def stop_pod(node: Node, pod: NodePod, seen: SeenPod, grace: int) -> None:
    """Stops everything of a pod. Containers share the grace period; sidecars end after the others, in reverse order."""
    ends = time.monotonic() + grace
    sidecars = [item.name for item in pod.pod.spec.init_containers if is_sidecar(item)]
    first = [found for found in seen.running if found.name not in sidecars]
    await _stop_all(node, pod, seen, first, grace)
    for name in reversed(sidecars):
        found = [container for container in seen.running if container.name == name]
        await _stop_all(node, pod, seen, found, max(0, round(ends - time.monotonic())))
    for sandbox in seen.sandboxes:
        await node.cri.stop_pod_sandbox(sandbox.id)
    await node.observed.refresh(pod.uid)


async def _stop_all(node: Node, pod: NodePod, seen: SeenPod, found: list[SeenContainer], grace: int) -> None:
    results = await asyncio.gather(
        *(stop_container(node, pod, container, grace, addresses=seen.addresses) for container in found),
        return_exceptions=True,
    )
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in failures[1:]:
        logger.error("pod %s: %s", pod.full_name, failure)
    if failures:
        raise failures[0]


async def remove_pod(node: Node, uid: str) -> None:
    """Removes all that the runtime has of a pod, whatever state it is in."""
    seen = await node.observed.refresh(uid)
    for sandbox in seen.sandboxes:
        await node.cri.stop_pod_sandbox(sandbox.id)
        await node.cri.remove_pod_sandbox(sandbox.id)
    for container in seen.containers:
        try:
            await node.cri.remove_container(container.id)
        except PodwrightError as error:
            logger.warning("container %s: %s", container.id, error)
    await node.observed.refresh(uid)


def _wanted(pod: NodePod, found: SeenContainer) -> tuple[str, Container | None]:
    for path, container in all_containers(pod.pod):
        if container.name == found.name:
            return path, container
    return "", None
