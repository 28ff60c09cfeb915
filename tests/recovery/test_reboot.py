"""A reboot: the state directory is new, nothing runs, and what was on the disk is still there."""

from collections.abc import Iterator

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition
from support.cri import Pods, until
from support.leaks import leaks, snapshot
from support.node import Node, node

pytestmark = pytest.mark.root


@pytest.fixture
def machine() -> Iterator[Node]:
    with node() as made:
        made.start()
        yield made


def test_everything_has_ended_and_can_be_removed(machine: Node) -> None:
    pods = Pods(machine)
    pods.load_image()
    first = pods.run_sandbox(pods.networked_config(port_mappings=[v1.PortMapping(container_port=80, host_port=18080)]))
    running = pods.start(first, pods.container_config("echo before; sleep 1000", linux=v1.LinuxContainerConfig()))
    created = pods.create(first, pods.container_config(linux=v1.LinuxContainerConfig()))
    second = pods.run_sandbox()
    ended = pods.start(second, "exit 3")
    before = pods.exited(ended)
    ip = pods.sandbox(first).network.ip
    was = pods.status(running)
    addresses = machine.cni_state / "networks/test"
    assert (addresses / ip).exists()

    machine.reboot()
    machine.start()
    pods = Pods(machine)
    assert {sandbox.state for sandbox in pods.cri.list_pod_sandbox().items} == {v1.SANDBOX_NOTREADY}
    assert {container.state for container in pods.cri.list_containers().containers} == {v1.CONTAINER_EXITED}
    status = pods.status(running)
    assert (status.exit_code, status.reason) == (255, "Unknown")
    assert (status.created_at, status.started_at) == (was.created_at, was.started_at)
    assert status.finished_at > status.started_at
    assert pods.status(created).exit_code == 255
    assert pods.status(ended) == before
    assert pods.output(running) == "before\n", "its log is still there"
    until((addresses / ip).exists, lambda exists: not exists)

    with pytest.raises(FailedPrecondition):
        pods.create(first)
    with pytest.raises(FailedPrecondition):
        pods.cri.exec_sync(running, ["true"])
    for sandbox_id in (first, second):
        pods.cri.stop_pod_sandbox(sandbox_id)
        pods.cri.remove_pod_sandbox(sandbox_id)
    assert pods.run(pods.run_sandbox(), "echo after") == (0, "after\n")
    pods.remove_all()
    nothing: frozenset[str] = frozenset()
    assert leaks(machine, {**snapshot(machine), "cgroups": nothing, "processes": nothing, "rows": nothing}) == {}
    assert machine.links() == []
    assert list((machine.root / "containers").iterdir()) == []
    assert [path for path in addresses.iterdir() if path.name[0].isdigit()] == []


def test_a_state_directory_that_outlived_the_boot(machine: Node) -> None:
    pods = Pods(machine)
    pods.load_image()
    sandbox_id = pods.run_sandbox(pods.networked_config())
    container_id = pods.start(sandbox_id, pods.container_config(linux=v1.LinuxContainerConfig()))
    clean = snapshot(machine)
    machine.kill()
    marker = f"/proc/{machine.holder}/root{machine.state}/boot-id"
    with open(marker, "w", encoding="ascii") as file:
        file.write("another boot")

    machine.start()
    pods = Pods(machine)
    assert pods.sandbox(sandbox_id).state == v1.SANDBOX_NOTREADY
    assert pods.status(container_id).state == v1.CONTAINER_EXITED
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert leaks(machine, {**clean, "rows": frozenset()}) == {}
    assert machine.cgroups() == []
