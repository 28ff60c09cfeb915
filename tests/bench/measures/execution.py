"""ExecSync of `true`, as probes do it."""

from bench.pods import bring_up, new_pod, timed
from bench.results import Quantity
from bench.run import Bench

LATENCY = Quantity("exec", "ExecSync of true", "ms", part=0.5)
CPU = Quantity("exec", "CPU of ExecSync of true", "ms", part=0.5)


def measure(bench: Bench) -> None:
    """One at a time, in a pod on each runtime."""
    count = bench.choose(200, 20)
    with bench.peers() as made:
        pods = {peer.name: new_pod(peer) for peer in made}
        for pod in pods.values():
            bring_up(pod)
            pod.peer.client.exec_sync(pod.containers[0], ["true"])
        before = {peer.name: peer.cpu_ms() for peer in made}
        for peer in bench.rounds(made, count):
            times: dict[str, float] = {}
            with timed(times, "exec"):
                answer = peer.client.exec_sync(pods[peer.name].containers[0], ["true"], timeout=10)
            assert answer.exit_code == 0
            bench.add(LATENCY, peer, times["exec"])
        for peer in made:
            bench.add(CPU, peer, (peer.cpu_ms() - before[peer.name]) / count)
