"""A kubelet that has nothing to do: the calls of kubelet 1.36 with their periods, as traced."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from podwright.client import Client
from podwright.cri import v1

_READY = v1.PodSandboxFilter(state=v1.PodSandboxStateValue(state=v1.SANDBOX_READY))
_RUNNING = v1.ContainerFilter(state=v1.ContainerStateValue(state=v1.CONTAINER_RUNNING))


@dataclass(frozen=True, slots=True)
class _Loop:
    seconds: float
    calls: Callable[[Client], object]


def _relist(client: Client) -> None:
    client.list_pod_sandbox()
    client.list_containers()


def _housekeeping(client: Client) -> None:
    client.list_pod_sandbox(_READY)
    client.list_containers(_RUNNING)


def _eviction(client: Client) -> None:
    client.version()
    client.image_fs_info()
    client.list_containers()
    client.list_pod_sandbox()
    client.list_container_stats()


def _log_rotation(client: Client) -> None:
    for container in client.list_containers().containers:
        if container.state == v1.CONTAINER_RUNNING:
            client.container_status(container.id)


_LOOPS = (
    _Loop(1, _relist),
    _Loop(2, _housekeeping),
    _Loop(5, lambda client: client.status()),
    _Loop(10, _eviction),
    _Loop(10, _log_rotation),
    _Loop(30, lambda client: client.list_images()),
    _Loop(60, _relist),  # container GC
)


def poll(client: Client, seconds: float) -> None:
    """Asks for `seconds`, a multiple of 10, as a kubelet does. Every loop begins in the middle of its period."""
    begun = time.monotonic()
    due = sorted((loop.seconds * (turn + 0.5), n) for n, loop in enumerate(_LOOPS) for turn in range(int(seconds)))
    for at, number in due:
        if at >= seconds:
            return
        time.sleep(max(0.0, begun + at - time.monotonic()))
        _LOOPS[number].calls(client)
