"""What a daemon that was killed finds when it comes back."""

import contextlib
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition, Internal, InvalidArgument, NotFound, PodwrightError
from recovery.conftest import Survivor
from support.cri import Pods, secured, until

pytestmark = pytest.mark.root


def counts_down(pods: Pods, survivor: Survivor, code: int) -> v1.ContainerConfig:
    """A container that ends with `code` once a file is there."""
    wait = f"until [ -e /v/end-{code} ]; do usleep 10000; done; exit {code}"
    mount = v1.Mount(container_path="/v", host_path=str(survivor.node.directory))
    return pods.container_config(wait, mounts=[mount])


def test_what_ended_meanwhile(survivor: Survivor) -> None:
    pods = survivor.start()
    sandbox_id = pods.run_sandbox()
    containers = {code: pods.start(sandbox_id, counts_down(pods, survivor, code)) for code in (0, 42)}
    shot = pods.start(sandbox_id)
    started = {container_id: pods.status(container_id) for container_id in (*containers.values(), shot)}
    process = str(pods.info(shot)["pid"])
    unstarted = pods.create(sandbox_id, "exit 9")
    survivor.node.kill()

    began = time.time_ns()
    for code in containers:
        (survivor.node.directory / f"end-{code}").touch()
    survivor.node.run("kill", "-9", process)
    exits = survivor.node.state / "exits"
    files = f"/proc/{survivor.node.holder}/root{exits}"
    until(lambda: survivor.node.run("ls", files, check=False), lambda listed: len(listed.split()) >= 3)
    ended = time.time_ns()

    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    for code, container_id in containers.items():
        status = pods.exited(container_id)
        assert (status.exit_code, status.reason) == (code, "Completed" if code == 0 else "Error")
        assert began - 10**9 < status.finished_at <= ended, "when it ended, not when that was found out"
        before = started[container_id]
        assert (status.created_at, status.started_at) == (before.created_at, before.started_at)
    assert pods.exited(shot).exit_code == 137
    assert pods.status(unstarted).state == v1.CONTAINER_CREATED
    pods.cri.start_container(unstarted)
    assert pods.exited(unstarted).exit_code == 9
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_what_cannot_be_started_is_known_to_the_next_daemon(survivor: Survivor) -> None:
    pods = survivor.start()
    sandbox_id = pods.run_sandbox()
    container_id = pods.create(sandbox_id, pods.container_config(command=["no-such-program"]))
    survivor.node.kill()
    pods = survivor.start()
    assert pods.status(container_id).state == v1.CONTAINER_CREATED
    with pytest.raises(InvalidArgument, match=r'^command: "no-such-program" cannot be run'):
        pods.cri.start_container(container_id)
    assert pods.status(container_id).reason == "StartError"
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_a_handler_is_not_configured_any_more(survivor: Survivor) -> None:
    pods = survivor.start()
    sandbox_id = pods.run_sandbox(handler="runc")
    created, running = pods.create(sandbox_id), pods.start(sandbox_id)
    survivor.node.stop()
    survivor.node.write_config('[runtime.handlers.crun]\nprogram = "crun"')
    pods = survivor.start()
    calls: list[Callable[[], object]] = [
        lambda: pods.create(sandbox_id),
        lambda: pods.cri.start_container(created),
        lambda: pods.exec(running, "true"),
        lambda: pods.cri.update_container_resources(running, linux=v1.LinuxContainerResources(cpu_shares=77)),
    ]
    for call in calls:
        with pytest.raises(FailedPrecondition, match=r'was made with the handler "runc", which is no longer config'):
            call()
    assert pods.status(created).state == v1.CONTAINER_CREATED
    pods.cri.stop_container(running, timeout=0)
    assert pods.exited(running).exit_code == 137
    with pytest.raises(Internal, match=r'the handler "runc" is no longer configured'):
        pods.cri.remove_pod_sandbox(sandbox_id)
    survivor.node.stop()
    survivor.node.write_config()
    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_process_1_of_a_shared_pid_namespace_ended_meanwhile(survivor: Survivor) -> None:
    pods = survivor.start()
    sandbox_id = pods.run_sandbox(pods.networked_config())
    container_id = pods.start(sandbox_id, pods.container_config(linux=v1.LinuxContainerConfig()))
    info = json.loads(pods.cri.pod_sandbox_status(sandbox_id, verbose=True).info["info"])
    survivor.node.kill()
    survivor.node.run("kill", "-9", str(info["pid"]))
    pods = survivor.start()
    until(lambda: pods.sandbox(sandbox_id).state, lambda state: state == v1.SANDBOX_NOTREADY)
    assert pods.exited(container_id).exit_code == 137
    survivor.bystander.is_as_before(pods)
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_an_exec_that_was_cut_off_leaves_no_file(survivor: Survivor) -> None:
    pods = survivor.start()
    sandbox_id = pods.run_sandbox()
    container_id = pods.start(sandbox_id)

    def command() -> None:
        with contextlib.suppress(PodwrightError):
            pods.cri.exec_sync(container_id, ["sleep", "20202"])

    running = threading.Thread(target=command)
    running.start()
    until(survivor.node.processes, lambda found: "sleep 20202" in found)
    survivor.node.kill()
    running.join(20)
    pods = survivor.start()
    assert pods.exec(container_id, "echo on") == "on\n"
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_unreadable_records_keep_nothing_from_working(survivor: Survivor) -> None:
    pods = survivor.start()
    broken_sandbox = pods.run_sandbox(pods.networked_config())
    of_broken = pods.start(broken_sandbox, pods.container_config(linux=v1.LinuxContainerConfig()))
    whole = pods.run_sandbox()
    broken_container, sound = pods.start(whole), pods.start(whole)
    survivor.node.kill()
    with sqlite3.connect(survivor.node.root / "state.db") as database:
        database.execute("UPDATE sandbox SET status = x'7b7d' WHERE id = ?", (broken_sandbox,))
        database.execute("UPDATE container SET config = x'ff' WHERE id = ?", (broken_container,))
    database.close()

    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    assert pods.exec(sound, "echo alive") == "alive\n"
    for gone in (broken_container, of_broken):
        with pytest.raises(NotFound):
            pods.status(gone)
    with pytest.raises(NotFound):
        pods.sandbox(broken_sandbox)
    pods.cri.remove_pod_sandbox(whole)
    assert survivor.leaks() == {}
    assert "cannot be read: it is given up" in survivor.node.log.read_text()


def test_directories_of_nobody_are_swept(survivor: Survivor) -> None:
    lost = survivor.node.root / "containers" / ("0" * 64)
    (lost / "upper/deep").mkdir(parents=True)
    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    assert survivor.leaks() == {}
    assert not lost.exists()


class Kubelet(threading.Thread):
    """Somebody who makes pods and takes them away again, and begins anew where he is interrupted."""

    def __init__(self, survivor: Survivor, number: int) -> None:
        super().__init__()
        self.pods = Pods(survivor.node)
        self.number = number

    def run(self) -> None:
        with contextlib.suppress(PodwrightError):  # the daemon has been killed
            for count in range(1000):
                name = f"chaos-{self.number}-{count}-{time.monotonic_ns()}"
                config = self.pods.networked_config(name) if count % 2 else self.pods.sandbox_config(name)
                linux = v1.LinuxContainerConfig() if count % 2 else secured()
                sandbox_id = self.pods.run_sandbox(config)
                container = self.pods.container_config("echo x; exec sleep 1000", name, linux=linux)
                container_id = self.pods.start(sandbox_id, container)
                self.pods.exec(container_id, "echo y")
                if count % 3:
                    self.pods.cri.stop_container(container_id, timeout=0)
                    self.pods.cri.remove_container(container_id)
                self.pods.cri.stop_pod_sandbox(sandbox_id)
                self.pods.cri.remove_pod_sandbox(sandbox_id)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_any_moment_of_much_work(survivor: Survivor, seed: int) -> None:
    moment = random.Random(seed)
    survivor.start()
    kubelets = [Kubelet(survivor, number) for number in range(4)]
    for kubelet in kubelets:
        kubelet.start()
    threading.Event().wait(0.2 + moment.random())
    survivor.node.kill()
    for kubelet in kubelets:
        kubelet.join(30)
        assert not kubelet.is_alive()
    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    for sandbox in pods.cri.list_pod_sandbox().items:
        if sandbox.id == survivor.bystander.sandbox.id:
            continue
        for container in pods.cri.list_containers(v1.ContainerFilter(pod_sandbox_id=sandbox.id)).containers:
            if pods.status(container.id).state == v1.CONTAINER_RUNNING:
                assert pods.exec(container.id, "echo alive") == "alive\n"
        pods.cri.stop_pod_sandbox(sandbox.id)
        pods.cri.remove_pod_sandbox(sandbox.id)
    assert survivor.leaks() == {}
