"""A node that fills up: what the runtime needs at 1, 20, 100 and more pods, and how soon it is back after a kill."""

import threading
from concurrent.futures import ThreadPoolExecutor

from bench import kubelet
from bench.peers import Peer
from bench.pods import bring_up, new_pod, take_down, timed
from bench.results import Quantity
from bench.run import Bench

MIB = 1 << 20


def measure(bench: Bench) -> None:
    """Memory, idle processor time, the life of a further pod, lists, stats; then the restart."""
    with bench.peers() as made:
        there = 0
        for size in bench.choose((1, 10, 20, 100, 500), (1, 10)):
            bench.say(f"  {size} pods")
            with ThreadPoolExecutor(4) as threads:
                for peer in made:
                    list(threads.map(bring_up, [new_pod(peer) for _ in range(size - there)]))
            there = size
            _memory(bench, made, size)
            _idle(bench, made, size)
            _one_more(bench, made, size)
            _stats(bench, made, size)
            if size in (10, 100):
                _restart(bench, made, size)


def _quantity(title: str, unit: str, size: int, part: float | None = None, most: float | None = None) -> Quantity:
    """Budgets are for a hundred pods."""
    budget = (part, most) if size == 100 else (None, None)
    return Quantity("population", title, unit, *budget, size=size)


def _memory(bench: Bench, made: list[Peer], size: int) -> None:
    for peer in made:
        used = sum(peer.memory().values()) / MIB
        bench.add(_quantity("memory (PSS) of daemon and monitors", "MiB", size, part=1 / 3), peer, used)


def _idle(bench: Bench, made: list[Peer], size: int) -> None:
    """Both at the same time: each has a kubelet of its own, and an account of its own."""
    seconds = bench.choose(60, 10)
    before = {peer.name: peer.cpu_ms() for peer in made}
    kubelets = [threading.Thread(target=kubelet.poll, args=(peer.client, seconds)) for peer in made]
    for thread in kubelets:
        thread.start()
    for thread in kubelets:
        thread.join()
    for peer in made:
        used = (peer.cpu_ms() - before[peer.name]) / seconds
        bench.add(_quantity("CPU under an idle kubelet", "ms/s", size, part=1.0), peer, used)


def _one_more(bench: Bench, made: list[Peer], size: int) -> None:
    for peer in bench.rounds(made, bench.choose(10, 2)):
        pod = new_pod(peer)
        before = peer.cpu_ms()
        up, down = sum(bring_up(pod).values()), sum(take_down(pod).values())
        bench.add(_quantity("a further pod up", "ms", size), peer, up)
        bench.add(_quantity("a further pod down", "ms", size), peer, down)
        bench.add(_quantity("CPU of both", "ms", size), peer, peer.cpu_ms() - before)


def _stats(bench: Bench, made: list[Peer], size: int) -> None:
    count = bench.choose(20, 5)
    before = {peer.name: peer.cpu_ms() for peer in made}
    for peer in bench.rounds(made, count):
        times: dict[str, float] = {}
        with timed(times, "stats"):
            answer = peer.client.list_container_stats()
        assert len(answer.stats) == size
        bench.add(_quantity("ListContainerStats", "ms", size), peer, times["stats"])
    for peer in made:
        bench.add(_quantity("CPU of ListContainerStats", "ms", size), peer, (peer.cpu_ms() - before[peer.name]) / count)


def _restart(bench: Bench, made: list[Peer], size: int) -> None:
    for peer in bench.rounds(made, bench.choose(5, 2)):
        peer.kill()
        times: dict[str, float] = {}
        before = peer.cpu_ms()
        with timed(times, "restart"):
            peer.start()
        bench.add(_quantity("kill -9 to ready again", "ms", size, most=1000), peer, times["restart"])
        bench.add(_quantity("CPU of that", "ms", size), peer, peer.cpu_ms() - before)
