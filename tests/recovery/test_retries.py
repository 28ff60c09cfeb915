"""Callers who lose patience: the work goes on, and the next try gets what comes of it."""

import threading
import time
from collections.abc import Iterator

import pytest

from podwright.cri import v1
from podwright.errors import Aborted, AlreadyExists, DeadlineExceeded, NotFound
from support.cri import Pods, host_network, secured, until
from support.leaks import Snapshot, leaks, snapshot
from support.node import Node, node

pytestmark = pytest.mark.root

SLOW_RUNTIME = """#!/bin/sh
case " $* " in {commands}) while [ -e {gate} ]; do sleep 0.02; done;; esac
exec crun "$@"
"""
COMMANDS = {"create": '*" create "*|*" run "*', "start": '*" start "*'}


OWN = v1.LinuxSandboxSecurityContext(namespace_options=v1.NamespaceOption(pid=v1.CONTAINER))


class Gate:
    """While it is closed the OCI runtime waits before it creates, or starts, anything."""

    def __init__(self, machine: Node) -> None:
        self.machine = machine
        self._files = {command: machine.directory / f"{command}-gate" for command in COMMANDS}
        self.programs = machine.directory / "programs"
        self.programs.mkdir(exist_ok=True)
        for command, file in self._files.items():
            program = self.programs / f"slow-{command}"
            program.write_text(SLOW_RUNTIME.format(commands=COMMANDS[command], gate=file))
            program.chmod(0o755)

    @property
    def handlers(self) -> str:
        """What the daemon's configuration must say."""
        programs = {f"slow-{command}": self.programs / f"slow-{command}" for command in self._files}
        return "\n".join(
            f'[runtime.handlers.{name}]\nprogram = "{program}"'
            for name, program in {"crun": "crun", **programs}.items()
        )

    def close(self, command: str) -> None:
        self._files[command].touch()

    def open(self) -> None:
        for file in self._files.values():
            file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def machine() -> Iterator[Node]:
    with node() as made:
        made.write_config(Gate(made).handlers)
        made.start()
        Pods(made).load_image()
        yield made


@pytest.fixture
def gate(machine: Node) -> Iterator[Gate]:
    made = Gate(machine)
    yield made
    made.open()


@pytest.fixture
def pods(machine: Node) -> Iterator[Pods]:
    if not machine.running:
        machine.start()
    pods = Pods(machine)
    for handler in ("crun", "slow-create", "slow-start"):
        pods.start(
            pods.run_sandbox(pods.networked_config(linux=v1.LinuxPodSandboxConfig(security_context=OWN)), handler)
        )
    pods.remove_all()
    before: Snapshot = snapshot(machine)
    yield pods
    pods.remove_all()
    assert leaks(machine, before) == {}


def impatient(pods: Pods, config: v1.PodSandboxConfig, handler: str = "slow-create") -> None:
    """Asks for a sandbox and leaves at once."""
    with pytest.raises(DeadlineExceeded):
        pods.cri.run_pod_sandbox(config, runtime_handler=handler, deadline=0.3)


def test_a_retry_joins_the_work_on_a_sandbox(pods: Pods, gate: Gate) -> None:
    gate.close("create")
    config = pods.networked_config()
    impatient(pods, config)
    impatient(pods, config)
    assert not pods.cri.list_pod_sandbox().items
    other = pods.networked_config(config.metadata.name, annotations={"changed": "yes"})
    with pytest.raises(Aborted, match=r'"sandbox\.infra|another configuration, at stage "'):
        pods.run_sandbox(other, "slow-create")
    opening = threading.Timer(0.3, gate.open)
    opening.start()
    sandbox_id = pods.run_sandbox(config, "slow-create")
    opening.join()
    assert [sandbox.id for sandbox in pods.cri.list_pod_sandbox().items] == [sandbox_id]
    with pytest.raises(AlreadyExists, match=sandbox_id):
        pods.run_sandbox(config, "slow-create")


def made_in_vain(pods: Pods, gate: Gate, config: v1.PodSandboxConfig) -> None:
    """Has a sandbox made whose caller is gone by then."""
    gate.close("create")
    impatient(pods, config)
    gate.open()
    until(pods.node.log.read_text, lambda log: f"{config.metadata.name}_test_" in log.rpartition("was made after")[0])


def test_a_result_that_came_too_late_is_for_the_next_try(pods: Pods, gate: Gate) -> None:
    config = pods.networked_config()
    made_in_vain(pods, gate, config)
    assert not pods.cri.list_pod_sandbox().items, "nobody may take for his what he has not been told of"
    assert len(pods.node.cgroups()) == 2
    began = time.monotonic()
    sandbox_id = pods.run_sandbox(config, "slow-create")
    assert time.monotonic() - began < 0.5
    assert [sandbox.id for sandbox in pods.cri.list_pod_sandbox().items] == [sandbox_id]
    assert pods.sandbox(sandbox_id).state == v1.SANDBOX_READY


def test_another_configuration_takes_the_place_of_a_result_nobody_has_fetched(pods: Pods, gate: Gate) -> None:
    config = pods.networked_config()
    made_in_vain(pods, gate, config)
    other = pods.networked_config(config.metadata.name, annotations={"changed": "yes"})
    sandbox_id = pods.run_sandbox(other, "slow-create")
    assert dict(pods.sandbox(sandbox_id).annotations) == {"changed": "yes"}
    assert len(pods.node.cgroups()) == 2


def test_a_result_nobody_has_fetched_survives_the_daemon(pods: Pods, gate: Gate) -> None:
    config = pods.networked_config()
    made_in_vain(pods, gate, config)
    pods.node.kill()
    pods.node.start()
    again = Pods(pods.node)
    (sandbox,) = again.cri.list_pod_sandbox().items
    with pytest.raises(AlreadyExists, match=sandbox.id):
        again.run_sandbox(config, "slow-create")
    again.remove_all()


def test_a_retry_joins_the_work_on_a_container(pods: Pods, gate: Gate) -> None:
    sandbox_id = pods.run_sandbox(handler="slow-create")
    config = pods.container_config()
    gate.close("create")
    with pytest.raises(DeadlineExceeded):
        pods.cri.create_container(sandbox_id, config, deadline=0.3)
    assert not pods.cri.list_containers().containers
    changed = pods.container_config("true", config.metadata.name)
    with pytest.raises(Aborted, match=r'at stage "container\.create"'):
        pods.create(sandbox_id, changed)
    opening = threading.Timer(0.3, gate.open)
    opening.start()
    container_id = pods.create(sandbox_id, config)
    opening.join()
    assert [container.id for container in pods.cri.list_containers().containers] == [container_id]
    pods.cri.start_container(container_id)


def test_the_sandbox_goes_while_a_container_is_made(pods: Pods, gate: Gate) -> None:
    sandbox_id = pods.run_sandbox(handler="slow-create")
    config = pods.container_config()
    gate.close("create")
    with pytest.raises(DeadlineExceeded):
        pods.cri.create_container(sandbox_id, config, deadline=0.3)
    opening = threading.Timer(0.3, gate.open)
    opening.start()
    pods.cri.remove_pod_sandbox(sandbox_id)
    opening.join()
    with pytest.raises(NotFound):
        pods.create(sandbox_id, config)


def test_the_daemon_dies_while_it_undoes_a_container_whose_sandbox_goes(pods: Pods, gate: Gate) -> None:
    """It was created already, but nobody had been told: the next daemon must not show it."""
    pods.node.stop()
    pods.node.environment = {"PODWRIGHT_FAILPOINT": "kill@release.mount"}
    pods.node.start()
    dying = Pods(pods.node)
    sandbox_id = dying.run_sandbox(handler="slow-create")
    gate.close("create")
    with pytest.raises(DeadlineExceeded):
        dying.cri.create_container(sandbox_id, dying.container_config(), deadline=0.3)
    with pytest.raises(DeadlineExceeded):
        dying.cri.stop_pod_sandbox(sandbox_id, deadline=0.3)
    gate.open()
    pods.node.wait()
    pods.node.environment.clear()
    pods.node.start()
    assert not Pods(pods.node).cri.list_containers().containers


def test_start_and_stop_go_on_without_their_caller(pods: Pods, gate: Gate) -> None:
    sandbox_id = pods.run_sandbox(handler="slow-start")
    container_id = pods.create(sandbox_id, "trap '' TERM; echo on; while true; do sleep 0.05; done")
    gate.close("start")
    with pytest.raises(DeadlineExceeded):
        pods.cri.start_container(container_id, deadline=0.3)
    assert pods.status(container_id).state == v1.CONTAINER_CREATED
    assert pods.status(container_id).started_at == 0
    gate.open()
    until(lambda: pods.status(container_id).state, lambda state: state == v1.CONTAINER_RUNNING)
    pods.says(container_id, "on")
    with pytest.raises(DeadlineExceeded):
        pods.cri.stop_container(container_id, timeout=1, deadline=0.2)
    assert pods.exited(container_id).exit_code == 137


def test_a_stop_waits_for_a_start_under_way(pods: Pods, gate: Gate) -> None:
    # Process 1 of a PID namespace would lose a signal that comes before its trap.
    host_pid = v1.LinuxPodSandboxConfig(security_context=host_network(pid=v1.NODE))
    sandbox_id = pods.run_sandbox(pods.sandbox_config(linux=host_pid), "slow-start")
    script = "trap 'exit 5' TERM; echo on; while true; do sleep 0.05; done"
    linux = secured(namespace_options=v1.NamespaceOption(pid=v1.NODE))
    container_id = pods.create(sandbox_id, pods.container_config(script, linux=linux))
    gate.close("start")
    with pytest.raises(DeadlineExceeded):
        pods.cri.start_container(container_id, deadline=0.3)
    opening = threading.Timer(0.3, gate.open)
    opening.start()
    pods.cri.stop_container(container_id, timeout=30)
    opening.join()
    # It may have been too early for the trap; but it was the stop signal, not a kill.
    assert pods.status(container_id).exit_code in (5, 143)


def test_the_daemon_dies_while_a_start_is_under_way(pods: Pods, gate: Gate) -> None:
    sandbox_id = pods.run_sandbox(handler="slow-start")
    container_id = pods.create(sandbox_id)
    gate.close("start")
    with pytest.raises(DeadlineExceeded):
        pods.cri.start_container(container_id, deadline=0.3)
    pods.node.kill()
    pods.node.run("pkill", "-9", "-f", "^/bin/sh .*slow-start")
    gate.open()
    pods.node.start()
    again = Pods(pods.node)
    assert again.status(container_id).state == v1.CONTAINER_CREATED
    again.cri.start_container(container_id)
    assert again.exec(container_id, "echo alive") == "alive\n"
    again.remove_all()


@pytest.mark.parametrize("what", ["sandbox", "container"])
def test_the_daemon_dies_while_the_oci_runtime_creates(pods: Pods, gate: Gate, what: str) -> None:
    config = pods.networked_config()
    container = pods.container_config(linux=v1.LinuxContainerConfig())
    if what == "sandbox":
        gate.close("create")
        impatient(pods, config)
    else:
        sandbox_id = pods.run_sandbox(config, "slow-create")
        gate.close("create")
        with pytest.raises(DeadlineExceeded):
            pods.cri.create_container(sandbox_id, container, deadline=0.3)
    pods.node.kill()
    assert [process for process in pods.node.processes() if "slow-create" in process]
    pods.node.start()
    until(pods.node.processes, lambda found: not [process for process in found if "slow-create" in process])
    gate.open()
    again = Pods(pods.node)
    if what == "sandbox":
        assert not again.cri.list_pod_sandbox().items
        sandbox_id = again.run_sandbox(config, "slow-create")
    assert not again.cri.list_containers().containers
    assert again.exec(again.start(sandbox_id, container), "echo alive") == "alive\n"
    again.remove_all()
