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


def _memory(bench: Bench, made: list[Peer], size: int) -> None:
    title = f"memory (PSS) of daemon and monitors, {size} pods"
    for peer in made:
        used = peer.memory()
        bench.add(Quantity("population", title, "MiB", 1 / 3 if size == 100 else None), peer, sum(used.values()) / MIB)


def _idle(bench: Bench, made: list[Peer], size: int) -> None:
    """Both at the same time: each has a kubelet of its own, and an account of its own."""
    seconds = bench.choose(60, 10)
    before = {peer.name: peer.cpu_ms() for peer in made}
    kubelets = [threading.Thread(target=kubelet.poll, args=(peer.client, seconds)) for peer in made]
    for thread in kubelets:
        thread.start()
    for thread in kubelets:
        thread.join()
    quantity = Quantity("population", f"CPU under an idle kubelet, {size} pods", "ms/s", 1.0 if size == 100 else None)
    for peer in made:
        bench.add(quantity, peer, (peer.cpu_ms() - before[peer.name]) / seconds)


def _one_more(bench: Bench, made: list[Peer], size: int) -> None:
    for peer in bench.rounds(made, bench.choose(10, 2)):
        pod = new_pod(peer)
        before = peer.cpu_ms()
        up, down = sum(bring_up(pod).values()), sum(take_down(pod).values())
        bench.add(Quantity("population", f"a further pod up, beside {size}", "ms"), peer, up)
        bench.add(Quantity("population", f"a further pod down, beside {size}", "ms"), peer, down)
        bench.add(Quantity("population", f"CPU of both, beside {size}", "ms"), peer, peer.cpu_ms() - before)


def _stats(bench: Bench, made: list[Peer], size: int) -> None:
    count = bench.choose(20, 5)
    before = {peer.name: peer.cpu_ms() for peer in made}
    for peer in bench.rounds(made, count):
        times: dict[str, float] = {}
        with timed(times, "stats"):
            answer = peer.client.list_container_stats()
        assert len(answer.stats) == size
        bench.add(Quantity("population", f"ListContainerStats, {size} pods", "ms"), peer, times["stats"])
    for peer in made:
        quantity = Quantity("population", f"CPU of ListContainerStats, {size} pods", "ms")
        bench.add(quantity, peer, (peer.cpu_ms() - before[peer.name]) / count)


def _restart(bench: Bench, made: list[Peer], size: int) -> None:
    quantity = Quantity("population", f"kill -9 to ready again, {size} pods", "ms", most=1000 if size == 100 else None)
    for peer in bench.rounds(made, bench.choose(5, 2)):
        peer.kill()
        times: dict[str, float] = {}
        before = peer.cpu_ms()
        with timed(times, "restart"):
            peer.start()
        bench.add(quantity, peer, times["restart"])
        bench.add(Quantity("population", f"CPU of the restart, {size} pods", "ms"), peer, peer.cpu_ms() - before)
