"""The life of a pod with one container, one at a time: what each call takes, and the processor time of all."""

from collections.abc import Mapping

from bench.peers import Peer
from bench.pods import Pod, bring_up, new_pod, take_down
from bench.results import Quantity
from bench.run import Bench

WARM_UP = 2
UP = "RunPodSandbox + CreateContainer + StartContainer"
DOWN = "StopContainer + StopPodSandbox + RemovePodSandbox"


KINDS: Mapping[str, Mapping[str, bool]] = {
    "life": {},
    "life, shared PID namespace": {"shared_pid": True},
    "life, host network": {"host_network": True},
}
"""The last one for what is left without network plugins, which both runtimes wait for."""


def measure(bench: Bench) -> None:
    """Each kind on fresh runtimes."""
    for kind, options in KINDS.items():
        with bench.peers() as made:
            for _ in range(WARM_UP):
                for peer in made:
                    pod = new_pod(peer, **options)
                    bring_up(pod)
                    take_down(pod)
            for peer in bench.rounds(made, bench.choose(60, 6)):
                _live(bench, kind, new_pod(peer, **options))


def _live(bench: Bench, kind: str, pod: Pod) -> None:
    peer = pod.peer
    cpu = peer.cpu_ms()
    times = bring_up(pod)
    cpu_up = peer.cpu_ms()
    bench.add(Quantity(kind, UP, "ms", part=0.5), peer, sum(times.values()))
    _add(bench, kind, peer, times)
    times = take_down(pod)
    cpu_down = peer.cpu_ms()
    ended = times["StopPodSandbox"] + times["RemovePodSandbox"]
    bench.add(Quantity(kind, "StopPodSandbox + RemovePodSandbox", "ms", part=0.5), peer, ended)
    bench.add(Quantity(kind, DOWN, "ms"), peer, sum(times.values()))
    _add(bench, kind, peer, times)
    bench.add(Quantity(kind, "CPU to bring up", "ms"), peer, cpu_up - cpu)
    bench.add(Quantity(kind, "CPU to take down", "ms"), peer, cpu_down - cpu_up)


def _add(bench: Bench, kind: str, peer: Peer, times: dict[str, float]) -> None:
    for call, milliseconds in times.items():
        bench.add(Quantity(kind, call, "ms"), peer, milliseconds)
