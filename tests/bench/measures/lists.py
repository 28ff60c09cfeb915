"""Lists and statuses of many objects. Kubelets ask for them several times a second.

Until the answer is there: to read it is not the runtime's work.
"""

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.message import Message

from bench.peers import Peer
from bench.pods import Pod, container_config, new_pod, timed
from bench.results import Quantity
from bench.run import Bench
from podwright.client.channel import OPTIONS
from podwright.cri import v1

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
    requests: dict[str, Callable[[list[Pod]], Message]] = {
        "ListContainers": lambda _: v1.ListContainersRequest(),
        "ListPodSandbox": lambda _: v1.ListPodSandboxRequest(),
        "ContainerStatus": lambda there: v1.ContainerStatusRequest(container_id=there[0].containers[0]),
        "PodSandboxStatus": lambda there: v1.PodSandboxStatusRequest(pod_sandbox_id=there[-1].sandbox),
    }
    for method, request in requests.items():
        quantity = Quantity("lists", method, "ms", part if method.startswith("List") else None, size=size)
        _ask(bench, quantity, {peer: request(pods[peer.name]).SerializeToString() for peer in made})


def _ask(bench: Bench, quantity: Quantity, requests: Mapping[Peer, bytes]) -> None:
    cpu = Quantity("lists", f"CPU of {quantity.title}", "ms", size=quantity.size)
    count = bench.choose(200, 50)
    with contextlib.ExitStack() as stack:
        calls: dict[Peer, Callable[[bytes], bytes]] = {}
        for peer in requests:
            channel = stack.enter_context(grpc.insecure_channel(f"unix:{peer.socket}", OPTIONS))
            calls[peer] = channel.unary_unary(f"/runtime.v1.RuntimeService/{quantity.title}", bytes, bytes)
            calls[peer](requests[peer])
        used = dict.fromkeys(requests, 0.0)
        for peer in bench.rounds(list(requests), count):
            times: dict[str, float] = {}
            before = peer.cpu_ms()
            with timed(times, quantity.title):
                calls[peer](requests[peer])
            used[peer] += peer.cpu_ms() - before
            bench.add(quantity, peer, times[quantity.title])
        for peer in requests:
            bench.add(cpu, peer, used[peer] / count)
