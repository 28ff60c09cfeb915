"""The life of a pod with one container, one at a time: what each call takes, and the processor time of all."""

from bench.peers import Peer
from bench.pods import bring_up, new_pod, take_down
from bench.results import Quantity
from bench.run import Bench

WARM_UP = 2
UP = "RunPodSandbox + CreateContainer + StartContainer"
DOWN = "StopContainer + StopPodSandbox + RemovePodSandbox"


def measure(bench: Bench) -> None:
    """Pods as most are, then pods whose containers share a PID namespace."""
    for kind, shared in (("life", False), ("life, shared PID namespace", True)):
        with bench.peers() as made:
            for _ in range(WARM_UP):
                for peer in made:
                    pod = new_pod(peer, shared_pid=shared)
                    bring_up(pod)
                    take_down(pod)
            for peer in bench.rounds(made, bench.choose(60, 6)):
                _live(bench, kind, peer, shared_pid=shared)


def _live(bench: Bench, kind: str, peer: Peer, *, shared_pid: bool) -> None:
    pod = new_pod(peer, shared_pid=shared_pid)
    cpu = peer.cpu_ms()
    times = bring_up(pod)
    cpu_up = peer.cpu_ms()
    bench.add(Quantity(kind, UP, "ms", part=0.5), peer, sum(times.values()))
    _add(bench, kind, peer, times)
    times = take_down(pod)
    bench.add(
        Quantity(kind, "StopPodSandbox + RemovePodSandbox", "ms", part=0.5),
        peer,
        times["StopPodSandbox"] + times["RemovePodSandbox"],
    )
    bench.add(Quantity(kind, DOWN, "ms"), peer, sum(times.values()))
    _add(bench, kind, peer, times)
    bench.add(Quantity(kind, "CPU to bring up", "ms"), peer, cpu_up - cpu)
    bench.add(Quantity(kind, "CPU to take down", "ms"), peer, peer.cpu_ms() - cpu_up)


def _add(bench: Bench, kind: str, peer: Peer, times: dict[str, float]) -> None:
    for call, milliseconds in times.items():
        bench.add(Quantity(kind, call, "ms"), peer, milliseconds)
