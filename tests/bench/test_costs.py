"""What a pod costs, in counts: a regression shows here on any machine, however fast or busy it is.

The counts are what was seen, rounded up where programs are not ours. Who makes one smaller may lower it here; who
makes one larger should know why.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bench.peers import Podwright, start_peer
from bench.pods import Pod, bring_up, container_config, new_pod, take_down

pytestmark = pytest.mark.root

CALLS = 50


@pytest.fixture(scope="module")
def peer() -> Iterator[Podwright]:
    """A daemon that has made pods before: its pools of threads are full, its modules imported."""
    made = Podwright("crun")
    try:
        start_peer(made)
        for _ in range(4):
            for shared in (False, True):
                live(made, shared_pid=shared)
        yield made
    finally:
        made.close()


class Tasks:
    """Processes and threads that are started on the machine, by the numbers that the kernel gives out."""

    def __init__(self, peer: Podwright) -> None:
        self._peer = peer
        self.by_step: dict[str, int] = {}
        self._last = self._number()

    def _number(self) -> int:
        return int(self._peer.machine.run("cat", "/proc/sys/kernel/ns_last_pid"))

    def count(self, step: str) -> None:
        """Enters what was started since the last count, but for what this looking started."""
        number = self._number()
        self.by_step[step] = number - self._last - 1
        self._last = number


def live(peer: Podwright, **fields: bool) -> Mapping[str, int]:
    """One life of a pod; what was started in each step of it."""
    pod = new_pod(peer, **fields)
    config = container_config(pod, "main")
    client, tasks = peer.client, Tasks(peer)
    pod.sandbox = client.run_pod_sandbox(pod.config).pod_sandbox_id
    tasks.count("run")
    container = client.create_container(pod.sandbox, config, sandbox_config=pod.config).container_id
    tasks.count("create")
    client.start_container(container)
    tasks.count("start")
    client.exec_sync(container, ["true"])
    tasks.count("exec")
    client.stop_container(container)
    client.stop_pod_sandbox(pod.sandbox)
    client.remove_pod_sandbox(pod.sandbox)
    tasks.count("end")
    return tasks.by_step


def exceeding(seen: Mapping[str, int], most: Mapping[str, int]) -> Mapping[str, int]:
    return {step: number for step, number in seen.items() if number > most[step]}


def test_processes_and_threads_in_the_life_of_a_pod(peer: Podwright) -> None:
    most = {
        "run": 1,  # a thread that makes the namespaces
        "create": 5,  # a thread that mounts the root file system, conmon and its child, crun, the container
        "start": 1,
        "exec": 3,  # crun, a child of it that joins namespaces, the command
        "end": 2,  # crun; and a further thread, when the kernel's work takes turns so
    }
    assert not exceeding(live(peer, host_network=True), most)


def test_and_of_one_whose_containers_share_their_processes(peer: Podwright) -> None:
    most = {"run": 5, "create": 6, "start": 1, "exec": 3, "end": 3}
    assert not exceeding(live(peer, host_network=True, shared_pid=True), most)


def test_and_of_one_with_a_network(peer: Podwright) -> None:
    # The plugins are written in Go, which starts threads by need, and call iptables up to ten times.
    most = {"run": 40, "create": 5, "start": 1, "exec": 3, "end": 36}
    assert not exceeding(live(peer), most)


@pytest.fixture
def pod(peer: Podwright) -> Iterator[Pod]:
    """A pod that runs."""
    made = new_pod(peer)
    bring_up(made)
    yield made
    take_down(made)


Question = Callable[[Pod], object]

QUESTIONS: Mapping[str, Question] = {
    "ListContainers": lambda pod: pod.peer.client.list_containers(),
    "ListPodSandbox": lambda pod: pod.peer.client.list_pod_sandbox(),
    "ContainerStatus": lambda pod: pod.peer.client.container_status(pod.containers[0]),
    "PodSandboxStatus": lambda pod: pod.peer.client.pod_sandbox_status(pod.sandbox),
    "ListImages": lambda pod: pod.peer.client.list_images(),
    "Status": lambda pod: pod.peer.client.status(),
}
"""What kubelets ask all the time."""


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_questions_are_answered_from_memory(peer: Podwright, pod: Pod, question: Question) -> None:
    question(pod)
    tasks, before, changes = Tasks(peer), _io(peer), _changes(peer)
    next(changes)
    for _ in range(CALLS):
        question(pod)
    after = _io(peer)
    tasks.count("all")
    assert tasks.by_step["all"] == 0
    assert next(changes) == 0
    per_call = {key: (after[key] - before[key]) / CALLS for key in after}
    # gRPC's threads wake one another; nothing else is read or written.
    assert per_call["syscr"] <= 5
    assert per_call["syscw"] <= 10
    assert per_call["rchar"] + per_call["wchar"] <= 100


def test_figures_of_a_container_take_few_files(peer: Podwright, pod: Pod) -> None:
    pod.peer.client.list_container_stats()
    tasks, before = Tasks(peer), _io(peer)
    for _ in range(CALLS):
        pod.peer.client.list_container_stats()
    after = _io(peer)
    tasks.count("all")
    assert tasks.by_step["all"] == 0
    assert (after["syscr"] - before["syscr"]) / CALLS <= 5 + 10 * len(pod.containers)


def test_what_a_pod_keeps(peer: Podwright) -> None:
    before = _kept(peer)
    pods = [new_pod(peer) for _ in range(5)]
    for each in pods:
        bring_up(each)
    per_pod = {kind: (number - before[kind]) / len(pods) for kind, number in _kept(peer).items()}
    for each in pods:
        take_down(each)
    assert per_pod["processes"] == 2, "conmon and the container"
    assert per_pod["descriptors"] <= 1, "a pidfd"
    assert per_pod["mounts"] <= 5, "three namespaces, /dev/shm, a root file system"
    assert _kept(peer)["processes"] == before["processes"]


def _io(peer: Podwright) -> Mapping[str, int]:
    """Calls of read and write by the daemon, and their bytes (proc(5)); sockets are not counted."""
    lines = Path(f"/proc/{peer.machine.daemon}/io").read_text().splitlines()
    return {key: int(value) for key, _, value in (line.partition(": ") for line in lines)}


def _changes(peer: Podwright) -> Iterator[int]:
    """Whether anything was written to the database since the last time it was asked for."""
    database = sqlite3.connect(f"file:{peer.machine.root}/state.db?mode=ro", uri=True)
    try:
        seen = -1
        while True:
            (version,) = database.execute("PRAGMA data_version").fetchone()
            yield int(version != seen)
            seen = version
    finally:
        database.close()


def _kept(peer: Podwright) -> Mapping[str, int]:
    daemon = peer.machine.daemon
    return {
        "processes": len(peer.machine.processes()),
        "descriptors": len(os.listdir(f"/proc/{daemon}/fd")),
        "mounts": len(Path(f"/proc/{daemon}/mountinfo").read_text().splitlines()),
    }
