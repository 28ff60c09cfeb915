"""How containers end: codes, reasons, signals, grace, and that nothing of them goes on."""

import concurrent.futures
import json
import threading
import time

import pytest

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.testing.cni import FakePlugin
from support.cri import Pods, host_network, secured, until
from support.node import node

pytestmark = pytest.mark.root

IGNORES_TERM = "trap '' TERM; echo ready; while true; do sleep 1000; done"
HANDLES_TERM = "trap 'echo bye; exit 5' TERM; echo ready; while true; do sleep 0.05; done"


@pytest.fixture
def sandbox(pods: Pods) -> str:
    return pods.run_sandbox()


@pytest.mark.parametrize(
    ("script", "code", "reason"),
    [
        ("exit 0", 0, "Completed"),
        ("exit 3", 3, "Error"),
        ("exit 255", 255, "Error"),
        ("kill -KILL $$", 137, "Error"),
        ("kill -SEGV $$", 139, "Error"),
    ],
)
def test_exit_codes_and_reasons(pods: Pods, sandbox: str, script: str, code: int, reason: str) -> None:
    # Process 1 of a PID namespace cannot be killed from inside, so a child is.
    container_id = pods.start(sandbox, f"sh -c '{script}'; exit $?")
    status = pods.exited(container_id)
    assert (status.exit_code, status.reason, status.message) == (code, reason, "")
    assert status.started_at <= status.finished_at <= time.time_ns()
    assert pods.status(container_id) == status


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_out_of_memory(pods: Pods, handler: str) -> None:
    limited = secured()
    limited.resources.memory_limit_in_bytes = 16 << 20
    container_id = pods.start(
        pods.run_sandbox(handler=handler),
        pods.container_config("exec tail /dev/zero", linux=limited),
    )
    status = pods.exited(container_id)
    assert (status.exit_code, status.reason) == (137, "OOMKilled")


def test_a_killed_process_1(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, "exec sleep 1000")
    pods.node.run("kill", "-9", str(pods.info(container_id)["pid"]))
    assert pods.exited(container_id).exit_code == 137


def test_a_killed_monitor_takes_the_container_along(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, "exec sleep 98765")
    pods.node.run("pkill", "-9", "-f", f"conmon .*--cid {container_id}")
    status = pods.exited(container_id)
    assert (status.exit_code, status.reason) == (255, "Unknown")
    assert "monitor" in status.message
    assert not [process for process in pods.node.processes() if "98765" in process]


def test_the_stop_signal_and_what_the_container_makes_of_it(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, HANDLES_TERM)
    pods.says(container_id, "ready")
    began = time.monotonic()
    pods.cri.stop_container(container_id, timeout=30)
    assert time.monotonic() - began < 10
    status = pods.status(container_id)
    assert (status.exit_code, status.reason) == (5, "Error")
    assert pods.output(container_id) == "ready\nbye\n"


@pytest.mark.parametrize(
    ("of_image", "of_container", "shown", "number"),
    [
        ("SIGUSR1", 0, v1.SIGNAL_SIGUSR1, 10),
        ("SIGUSR1", v1.SIGNAL_SIGUSR2, v1.SIGNAL_SIGUSR2, 12),
        ("12", 0, v1.SIGNAL_SIGUSR2, 12),
        ("", 0, v1.SIGNAL_SIGTERM, 15),
    ],
)
def test_which_signal(pods: Pods, sandbox: str, of_image: str, of_container: int, shown: int, number: int) -> None:
    pods.load_image("test.local/stop:1", StopSignal=of_image)
    traps = "".join(f"trap 'exit {n}' {n};" for n in (10, 12, 15))
    container_id = pods.start(
        sandbox,
        pods.container_config(
            f"{traps} echo ready; while true; do sleep 0.05; done",
            image=v1.ImageSpec(image="test.local/stop:1"),
            stop_signal=of_container,
        ),
    )
    assert pods.status(container_id).stop_signal == shown
    pods.says(container_id, "ready")
    pods.cri.stop_container(container_id, timeout=30)
    assert pods.status(container_id).exit_code == number


def test_the_grace_period_ends_with_a_kill(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, IGNORES_TERM)
    pods.says(container_id, "ready")
    began = time.monotonic()
    pods.cri.stop_container(container_id, timeout=1)
    assert 1 <= time.monotonic() - began < 5
    assert pods.status(container_id).exit_code == 137


def test_no_grace_at_all(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, HANDLES_TERM)
    pods.says(container_id, "ready")
    pods.cri.stop_container(container_id, timeout=0)
    assert pods.status(container_id).exit_code == 137
    assert pods.output(container_id) == "ready\n"


def test_a_later_stop_shortens_the_grace_period_of_all(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, IGNORES_TERM)
    pods.says(container_id, "ready")
    began = time.monotonic()
    patient = threading.Thread(target=pods.cri.stop_container, args=(container_id,), kwargs={"timeout": 90})
    patient.start()
    until(pods.node.log.read_text, lambda log: f"container.signal {container_id[:13]}" in log)
    longer = threading.Thread(target=pods.cri.stop_container, args=(container_id,), kwargs={"timeout": 300})
    longer.start()
    pods.cri.stop_container(container_id, timeout=1)
    patient.join(10)
    longer.join(10)
    assert not patient.is_alive()
    assert not longer.is_alive()
    assert time.monotonic() - began < 15
    assert pods.status(container_id).exit_code == 137


def test_stopping_the_sandbox_ends_a_grace_period(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, IGNORES_TERM)
    pods.says(container_id, "ready")
    patient = threading.Thread(target=pods.cri.stop_container, args=(container_id,), kwargs={"timeout": 90})
    patient.start()
    until(pods.node.log.read_text, lambda log: f"container.signal {container_id[:13]}" in log)
    pods.cri.stop_pod_sandbox(sandbox)
    patient.join(10)
    assert not patient.is_alive()


@pytest.mark.parametrize("pid", [v1.CONTAINER, v1.POD, v1.NODE])
def test_nothing_of_the_container_outlives_it(pods: Pods, pid: v1.NamespaceMode) -> None:
    sandbox_id = pods.run_sandbox(
        pods.sandbox_config(linux=v1.LinuxPodSandboxConfig(security_context=host_network(pid=pid)))
    )
    linux = secured(namespace_options=v1.NamespaceOption(pid=pid))
    script = "setsid sleep 87654 & (sleep 87654 &) ; sleep 0.1; exit 4"
    container_id = pods.start(sandbox_id, pods.container_config(script, linux=linux))
    assert pods.exited(container_id).exit_code == 4
    assert not [process for process in pods.node.processes() if "87654" in process]

    container_id = pods.start(sandbox_id, pods.container_config(f"setsid sleep 87654 & {IGNORES_TERM}", linux=linux))
    pods.says(container_id, "ready")
    pods.cri.stop_container(container_id, timeout=0)
    assert not [process for process in pods.node.processes() if "87654" in process]


def test_a_created_container_can_be_stopped(pods: Pods, sandbox: str) -> None:
    container_id = pods.create(sandbox, "echo never")
    pods.cri.stop_container(container_id, timeout=10)
    status = pods.status(container_id)
    assert status.state == v1.CONTAINER_EXITED
    assert (status.exit_code, status.started_at) == (137, 0)
    assert status.finished_at >= status.created_at
    assert pods.output(container_id) == ""


def test_a_negative_grace_period(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox)
    with pytest.raises(InvalidArgument, match="timeout is negative: -1"):
        pods.cri.stop_container(container_id, timeout=-1)
    assert pods.status(container_id).state == v1.CONTAINER_RUNNING


def test_what_cannot_be_started_can_be_stopped_instead(pods: Pods, sandbox: str) -> None:
    container_id = pods.create(sandbox, pods.container_config(command=["no-such-program"]))
    pods.cri.update_container_resources(container_id, linux=v1.LinuxContainerResources(cpu_shares=77))
    pods.cri.stop_container(container_id, timeout=10)
    status = pods.status(container_id)
    assert (status.state, status.exit_code, status.reason) == (v1.CONTAINER_EXITED, 128, "Error")
    assert status.resources.linux.cpu_shares == 77


def test_process_1_ends_before_the_sandbox_is_ready() -> None:
    """The network takes its time, and nobody looks at process 1 meanwhile: the sandbox must not stay ready without."""
    with node() as machine:
        plugin = FakePlugin(str(machine.directory), "slow")
        plugin.hang("ADD")
        conflist = {"cniVersion": "1.0.0", "name": "slow", "plugins": [{"type": "slow"}]}
        (machine.cni / "10-test.conflist").write_text(json.dumps(conflist))
        machine.config.write_text(
            machine.config.read_text().replace("[network]", f'[network]\nplugin_dirs = ["{machine.directory}"]')
        )
        machine.start()
        pods = Pods(machine)
        with concurrent.futures.ThreadPoolExecutor() as threads:
            running = threads.submit(pods.run_sandbox, pods.networked_config())
            until(machine.processes, lambda found: "/init -P" in found)
            until(lambda: plugin.runs("ADD"), bool)
            machine.run("pkill", "-KILL", "-f", "^/init -P")
            until(machine.processes, lambda found: "/init -P" not in found)
            plugin.open_gate()
            sandbox_id = running.result()
        until(lambda: pods.sandbox(sandbox_id).state, lambda state: state == v1.SANDBOX_NOTREADY)
        pods.close()
