"""Many pods at once, as after the restart of a node."""

import time
from concurrent.futures import ThreadPoolExecutor

from bench.pods import bring_up, new_pod, take_down
from bench.results import Quantity
from bench.run import Bench


def measure(bench: Bench) -> None:
    """From the first call to the last answer, up and down."""
    count = bench.choose(50, 20)
    up = Quantity("burst", f"{count} pods at once, up", "ms", part=0.5)
    down = Quantity("burst", f"{count} pods at once, down", "ms")
    with bench.peers() as made, ThreadPoolExecutor(count) as threads:
        for peer in bench.rounds(made, bench.choose(5, 1)):
            pods = [new_pod(peer) for _ in range(count)]
            for quantity, act in ((up, bring_up), (down, take_down)):
                begun, cpu = time.perf_counter(), peer.cpu_ms()
                list(threads.map(act, pods))
                bench.add(quantity, peer, (time.perf_counter() - begun) * 1000)
                bench.add(Quantity("burst", f"CPU of {quantity.title}", "ms"), peer, peer.cpu_ms() - cpu)
