"""`podwright top` and `podwright stats`, into pipes and at a terminal."""

import json
import subprocess
import sys
from typing import Any

import pytest

from podwright.cri import v1
from support.cri import Pods
from support.terminal import terminal

pytestmark = pytest.mark.root

BUSY = "echo begun; while :; do i=$((i+1)); done"


def podwright(pods: Pods, command: str, *arguments: str) -> list[str]:
    endpoint = f"unix://{pods.node.socket}"
    return pods.node.enter([sys.executable, "-m", "podwright", command, "-r", endpoint, *arguments])


def run(pods: Pods, command: str, *arguments: str) -> str:
    return subprocess.run(
        podwright(pods, command, *arguments), stdout=subprocess.PIPE, text=True, check=True, timeout=60
    ).stdout


def rows(table: str) -> dict[str, list[str]]:
    """The lines of a table by their first word."""
    return {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:]}


@pytest.fixture
def busy(pods: Pods) -> str:
    """The name of a pod with a network, in which one container counts and another, a limited one, sleeps."""
    sandbox = pods.run_sandbox(pods.networked_config("busy"))
    pods.says(pods.start(sandbox, BUSY, name="counts"), "begun")
    limits = v1.LinuxContainerResources(memory_limit_in_bytes=64_000_000, cpu_period=100_000, cpu_quota=50_000)
    pods.start(sandbox, "sleep 1000", name="sleeps", linux=v1.LinuxContainerConfig(resources=limits))
    return "busy"


def test_top_into_a_pipe(pods: Pods, busy: str) -> None:
    quiet = pods.run_sandbox()
    pods.start(quiet, "sleep 1000", name="quiet")
    output = run(pods, "top")
    table = rows(output)
    assert float(table["counts"][0]) > 5
    assert float(table["sleeps"][0]) < 5
    assert float(table[f"test/{busy}"][0]) > 5
    assert table["sleeps"][2:4] == ["50.0", "%"]
    assert "64 MB" in " ".join(table["sleeps"])
    order = [line.split()[0] for line in output.splitlines()[1:]]
    assert order[:3] == [f"test/{busy}", "counts", "sleeps"], "what uses most of the CPU comes first"
    assert order[3:] == [f"test/{pods.sandbox(quiet).metadata.name}", "quiet"]
    pids = int(table[f"test/{busy}"][-7])  # with process 1 of their namespace
    assert pids == 3, output


def test_top_of_some_by_name(pods: Pods, busy: str) -> None:
    pods.start(pods.run_sandbox(), "sleep 1000")
    for sort in ("cpu", "memory", "pids", "network", "disk", "name"):
        assert set(rows(run(pods, "top", "--sort", sort, f"{busy}/sleeps"))) == {f"test/{busy}", "sleeps"}
    by_name = run(pods, "top", "--sort", "name", busy)
    assert [line.split()[0] for line in by_name.splitlines()[1:]] == [f"test/{busy}", "counts", "sleeps"]


def test_traffic_is_a_rate(pods: Pods, busy: str) -> None:
    """The pod that is asked for more than 100 kB a second sends as much."""
    pods.start(pods.run_sandbox(pods.networked_config("sender")), "ping -i 0.01 -s 1000 10.89.0.1 >/dev/null")
    sent = run(pods, "top", "sender").splitlines()[1].split()
    unit = sent.index("kB/s")
    assert float(sent[unit - 1]) > 20, sent
    assert "kB/s" not in run(pods, "top", busy), "neighbours talk little"


@pytest.mark.usefixtures("busy")
def test_top_at_a_terminal(pods: Pods) -> None:
    with terminal(podwright(pods, "top", "--interval", "0.2")) as screen:
        screen.see(b"pods 1, containers 2")
        screen.see(b"counts")
        late = pods.start(pods.run_sandbox(), "sleep 1000", name="late")
        screen.see(b"pods 2, containers 3")
        screen.see(b"late")
        screen.resize(21, 4)
        small = screen.see(b"\x1b[J")
        while b"NAME" not in small or b"DISK" in small:  # drawn before
            small = screen.see(b"\x1b[J")
        assert b"counts" in small
        assert not {b"sleeps", b"late", b"DISK"} & set(small.split()), "there is no room for them"
        pods.cri.remove_container(late)
        screen.see(b"pods 2, containers 2")
        screen.type(b"q")
        screen.see(b"\x1b[?1049l")
        assert screen.end() == 0


def test_top_outlives_the_daemon(pods: Pods, busy: str) -> None:
    with terminal(podwright(pods, "top", "--interval", "0.2")) as screen:
        screen.see(b"pods 1, containers 2")
        pods.node.kill()
        screen.see(b"no connection")
        pods.node.start()
        screen.see(b"pods 1, containers 2")
        screen.type(b"\x03")
        assert screen.end() == 0
    assert busy in run(pods, "pods")


def test_stats_of_pods(pods: Pods, busy: str) -> None:
    pods.start(pods.run_sandbox(), "sleep 1000")
    table = rows(run(pods, "stats", "--pods", busy))
    assert set(table) == {busy}
    assert table[busy][0] == "test"
    assert float(table[busy][1]) > 5
    (stats,) = json.loads(run(pods, "stats", "--pods", busy, "-o", "json"))["stats"]
    told: Any = stats["linux"]["network"]["defaultInterface"]
    assert told["name"] == "eth0"
    assert len(run(pods, "stats", "--pods", "-q").split()) == 2
