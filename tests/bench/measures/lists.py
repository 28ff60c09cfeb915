"""Lists and statuses of many objects. Kubelets ask for them several times a second."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.peers import Peer
from bench.pods import Pod, container_config, new_pod, timed
from bench.results import Quantity
from bench.run import Bench

CONTAINERS_A_POD = 50
HOSTS = 20
"""Sandboxes that stay ready, to have containers."""


def measure(bench: Bench) -> None:
    """Containers that were created but not started, and sandboxes that were stopped: records are what lists show."""
    sizes = bench.choose((10, 100, 1000), (10, 100))
    with bench.peers() as made:
        pods: dict[str, list[Pod]] = {peer.name: [] for peer in made}
        for size in sizes:
            for peer in made:
                _fill(peer, pods[peer.name], size)
            _measure(bench, made, pods, size)


def _fill(peer: Peer, pods: list[Pod], size: int) -> None:
    """Makes it `size` sandboxes and `size` containers; pods of the host's network, for speed."""
    with ThreadPoolExecutor(8) as threads:
        added = [new_pod(peer, host_network=True) for _ in range(size - len(pods))]
        list(threads.map(_run, added))
        pods += added
        there = sum(len(pod.containers) for pod in pods)
        hosts = [pods[number // CONTAINERS_A_POD] for number in range(there, size)]
        list(threads.map(_create, hosts, range(there, size)))
        list(threads.map(_stop, pods[max(HOSTS, len(pods) - len(added)) :]))


def _run(pod: Pod) -> None:
    pod.sandbox = pod.peer.client.run_pod_sandbox(pod.config).pod_sandbox_id


def _create(pod: Pod, number: int) -> None:
    config = container_config(pod, f"c{number}")
    created = pod.peer.client.create_container(pod.sandbox, config, sandbox_config=pod.config)
    pod.containers.append(created.container_id)


def _stop(pod: Pod) -> None:
    pod.peer.client.stop_pod_sandbox(pod.sandbox)


def _measure(bench: Bench, made: list[Peer], pods: dict[str, list[Pod]], size: int) -> None:
    part = 0.5 if size >= 1000 else None
    calls: dict[str, Callable[[Peer], object]] = {
        f"ListContainers, {size:,}": lambda peer: peer.client.list_containers(),
        f"ListPodSandbox, {size:,}": lambda peer: peer.client.list_pod_sandbox(),
        f"ContainerStatus, one of {size:,}": lambda peer: peer.client.container_status(
            pods[peer.name][0].containers[0]
        ),
        f"PodSandboxStatus, one of {size:,}": lambda peer: peer.client.pod_sandbox_status(pods[peer.name][-1].sandbox),
    }
    count = bench.choose(200, 50)
    for title, call in calls.items():
        for peer in made:
            call(peer)
        used = dict.fromkeys((peer.name for peer in made), 0.0)
        for peer in bench.rounds(made, count):
            times: dict[str, float] = {}
            before = peer.cpu_ms()
            with timed(times, title):
                call(peer)
            used[peer.name] += peer.cpu_ms() - before
            bench.add(Quantity("lists", title, "ms", part if title.startswith("List") else None), peer, times[title])
        for peer in made:
            bench.add(Quantity("lists", f"CPU of {title}", "ms"), peer, used[peer.name] / count)
