"""What figures cost the daemon: kubelets ask for those of all containers every ten seconds."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from podwright.cri import v1
from support.cri import Pods

pytestmark = [pytest.mark.root, pytest.mark.slow]

CONTAINERS = int(os.environ.get("PODWRIGHT_STATS_CONTAINERS", "100"))
BUDGET = 100e-6
"""Seconds of CPU for the figures of one container: 100 ms for a thousand."""


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(600)
def test_figures_of_many_containers(pods: Pods) -> None:
    labels = {f"io.kubernetes.label.{n}": "some value" for n in range(5)}
    sandboxes = [pods.run_sandbox() for _ in range(10)]

    def start(number: int) -> str:
        config = pods.container_config("sleep 10000", labels=labels, annotations=labels)
        return pods.start(sandboxes[number % len(sandboxes)], config)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(CONTAINERS)))
    assert len(pods.cri.list_container_stats().stats) == CONTAINERS

    def cost() -> float:
        rounds = max(5000 // CONTAINERS, 5)
        before = cpu_seconds(pods.node.daemon)
        for _ in range(rounds):
            stats = pods.cri.list_container_stats().stats
        assert all(item.memory.HasField("working_set_bytes") and item.HasField("writable_layer") for item in stats)
        return (cpu_seconds(pods.node.daemon) - before) / rounds / CONTAINERS

    costs = [cost() for _ in range(3)]
    print(f"CPU per container: {[f'{value * 1e6:.0f} µs' for value in costs]}")
    assert min(costs) < BUDGET
    sums = pods.cri.list_pod_sandbox_stats(v1.PodSandboxStatsFilter()).stats
    assert sum(len(item.linux.containers) for item in sums) == CONTAINERS
