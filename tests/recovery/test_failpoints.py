"""The daemon is killed, or something fails, at each stage of a pod's life."""

import re
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.errors import Internal, PodwrightError, Unavailable
from recovery.conftest import Survivor
from support.cri import Pods, until

pytestmark = [pytest.mark.root, pytest.mark.slow]

STEPS = [
    *("sandbox.files", "sandbox.namespaces", "sandbox.network", "network.add", "sandbox.infra"),
    *("container.rootfs", "container.spec", "container.create", "container.start", "container.exec"),
    *("container.update", "container.signal", "container.kill", "container.exit"),
    *("sandbox.kill", "network.del"),
    *("release.container", "release.mount", "release.directory", "release.pin", "release.network", "release.cgroup"),
]
"""All stages of the life below, as test_these_are_all_stages makes sure."""

THEN_RECORDED = [
    *("sandbox.namespaces", "network.add", "sandbox.infra", "container.rootfs", "container.create", "container.start"),
    *("container.update", "container.exit", "network.del", "release.container", "release.pin", "release.directory"),
]
"""Stages between whose end and the next one's beginning something is written down."""

PORTS = [v1.PortMapping(container_port=80, host_port=18080)]


class Life:
    """A pod from its beginning to its end. Each part finds out how far an earlier attempt has come, as a kubelet
    does, so that `live` can be called again after a crash.
    """

    def __init__(self, pods: Pods, handler: str = "") -> None:
        self.pods = pods
        self.handler = handler
        self.config = pods.networked_config("life", port_mappings=PORTS, labels={"life": "yes"})

    def live(self) -> None:
        """All of it."""
        sandbox_id = self.sandbox()
        first = self.container(sandbox_id, "first", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done")
        if self.pods.status(first).state == v1.CONTAINER_RUNNING:
            self.pods.says(first, "ready")
            assert self.pods.exec(first, "echo exec") == "exec\n"
            self.pods.cri.update_container_resources(first, linux=v1.LinuxContainerResources(cpu_shares=77))
            self.pods.cri.stop_container(first, timeout=30)
            assert self.pods.status(first).exit_code == 5
        self.pods.cri.remove_container(first)
        self.container(sandbox_id, "second", "exec sleep 1000")
        self.created(sandbox_id, "third")
        self.end(sandbox_id)

    def sandbox(self) -> str:
        """The sandbox, ready."""
        for listed in self.pods.cri.list_pod_sandbox(v1.PodSandboxFilter(label_selector={"life": "yes"})).items:
            if listed.state == v1.SANDBOX_READY:
                return listed.id
            self.end(listed.id)
        return self.pods.run_sandbox(self.config, self.handler)

    def created(self, sandbox_id: str, name: str, script: str = "true") -> str:
        """A container, created at least."""
        for listed in self.pods.cri.list_containers(v1.ContainerFilter(pod_sandbox_id=sandbox_id)).containers:
            if listed.metadata.name == name:
                return listed.id
        config = self.pods.container_config(script, name, linux=v1.LinuxContainerConfig())
        return self.pods.cri.create_container(sandbox_id, config, sandbox_config=self.config).container_id

    def container(self, sandbox_id: str, name: str, script: str) -> str:
        """A container, started at least."""
        container_id = self.created(sandbox_id, name, script)
        if self.pods.status(container_id).state == v1.CONTAINER_CREATED:
            self.pods.cri.start_container(container_id)
        return container_id

    def end(self, sandbox_id: str) -> None:
        """Stops and removes the sandbox."""
        self.pods.cri.stop_pod_sandbox(sandbox_id)
        self.pods.cri.remove_pod_sandbox(sandbox_id)


def works(pods: Pods) -> None:
    """What is listed is what it says."""
    for sandbox in pods.cri.list_pod_sandbox(v1.PodSandboxFilter(label_selector={"life": "yes"})).items:
        ready = sandbox.state == v1.SANDBOX_READY
        if ready:
            config = pods.container_config("ls /sys/class/net; cat /etc/hostname", linux=v1.LinuxContainerConfig())
            assert pods.run(sandbox.id, config) == (0, "eth0\nlo\npod-host\n")
        for container in pods.cri.list_containers(v1.ContainerFilter(pod_sandbox_id=sandbox.id)).containers:
            state = pods.status(container.id).state
            if state == v1.CONTAINER_RUNNING:
                assert ready
                assert pods.exec(container.id, "echo alive") == "alive\n"


def test_these_are_all_stages(survivor: Survivor) -> None:
    pods = survivor.start()
    begin = len(survivor.node.log.read_text())
    Life(pods).live()
    log = survivor.node.log.read_text()[begin:]
    seen = set(re.findall(r"debug +(?:\[\w+\] )?([a-z]+\.[a-z]+) \w+: done in", log))
    assert seen == set(STEPS)
    assert survivor.leaks() == {}


@pytest.mark.parametrize(
    "failpoint", [*(f"kill@{step}" for step in STEPS), *(f"kill@after:{step}" for step in THEN_RECORDED)]
)
def test_killed(survivor: Survivor, failpoint: str) -> None:
    killed(survivor, failpoint)


def killed(survivor: Survivor, failpoint: str, handler: str = "") -> None:
    """A life that is cut off at the failpoint, and another one."""
    pods = survivor.start(failpoint)
    with pytest.raises((Unavailable, Internal)):
        Life(pods, handler).live()
    survivor.died()
    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    works(pods)
    Life(pods, handler).live()
    assert survivor.leaks() == {}
    survivor.bystander.is_as_before(pods)


@pytest.mark.parametrize(
    "step", ["sandbox.infra", "after:sandbox.infra", "container.create", "after:container.create", "container.start"]
)
def test_killed_with_runc(survivor: Survivor, step: str) -> None:
    killed(survivor, f"kill@{step}", "runc")


@pytest.mark.parametrize(
    "failpoint",
    [
        "fail@sandbox.infra,kill@release.container",
        "fail@sandbox.infra,kill@release.pin",
        "fail@sandbox.infra,kill@network.del",
        "fail@network.add,kill@release.directory",
        "fail@container.create,kill@release.mount",
        "fail@container.create,kill@after:release.container",
        "fail@container.start,kill@container.exit",
    ],
)
def test_killed_while_undoing(survivor: Survivor, failpoint: str) -> None:
    killed(survivor, failpoint)


@pytest.mark.parametrize("again", ["release.container", "release.mount", "release.pin", "network.del"])
def test_killed_while_recovering(survivor: Survivor, again: str) -> None:
    pods = survivor.start("kill@after:sandbox.infra")
    with pytest.raises(Unavailable):
        Life(pods).live()
    survivor.died()
    survivor.node.environment = {"PODWRIGHT_FAILPOINT": f"kill@{again}"}
    survivor.node.start(survives=False)
    survivor.died()
    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    Life(pods).live()
    assert survivor.leaks() == {}


MAKING = STEPS[: STEPS.index("container.start")]


@pytest.mark.parametrize("step", MAKING)
def test_a_creation_that_fails_leaves_nothing(survivor: Survivor, step: str) -> None:
    pods = survivor.start(f"fail@{step}")
    life = Life(pods)
    with pytest.raises(PodwrightError) as failure:
        life.live()
    is_clear(failure.value, step)
    listed = pods.cri.list_pod_sandbox(v1.PodSandboxFilter(label_selector={"life": "yes"})).items
    assert bool(listed) == step.startswith("container."), "only a sandbox that was ready before"
    assert len(pods.cri.list_containers().containers) == 1
    for sandbox in listed:
        life.end(sandbox.id)
    assert survivor.leaks() == {}
    survivor.bystander.is_as_before(pods)


@pytest.mark.parametrize("step", [step for step in STEPS if step not in (*MAKING, "container.exit")])
def test_what_fails_can_be_tried_again(survivor: Survivor, step: str) -> None:
    pods = survivor.start(f"fail@{step}")
    begin = len(survivor.node.log.read_text())
    try:
        Life(pods).live()
    except PodwrightError as error:
        is_clear(error, step)
    else:
        # Nobody had to be told: the network is given back later, and a container's exit cleans up by itself.
        assert step.startswith(("network.", "release."))
    assert f"failpoint {step}" in survivor.node.log.read_text()[begin:]
    survivor.node.kill()
    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    works(pods)
    Life(pods).live()
    assert survivor.leaks() == {}


def test_a_creation_that_fails_leaves_no_directory_for_its_log(survivor: Survivor) -> None:
    pods = survivor.start("fail@container.create")
    config = pods.sandbox_config()
    sandbox_id = pods.run_sandbox(config)
    with pytest.raises(Internal, match=r"failpoint container\.create"):
        pods.create(sandbox_id, pods.container_config(log_path="a/b/c.log"))
    assert not Path(config.log_directory).exists()
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_a_container_that_cannot_be_undone_yet_ends_with_its_sandbox(survivor: Survivor) -> None:
    """It has no cgroup to be killed by; the root of all cgroups must not stand for it."""
    pods = survivor.start("fail@container.create,fail@release.container")
    sandbox_id = pods.run_sandbox()
    with pytest.raises(Internal, match=r"failpoint container\.create.*cannot release"):
        pods.create(sandbox_id)
    with pytest.raises(Internal, match=r"failpoint release\.container"):
        pods.cri.stop_pod_sandbox(sandbox_id)
    survivor.bystander.is_as_before(pods)
    survivor.node.kill()
    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_an_exit_that_cannot_be_recorded_is_not_lost(survivor: Survivor) -> None:
    pods = survivor.start("fail@container.exit")
    sandbox_id = pods.run_sandbox()
    container_id = pods.start(sandbox_id, "exit 7")
    until(survivor.node.log.read_text, lambda log: re.search(r"exit of test/.* cannot be recorded: trying again", log))
    assert pods.status(container_id).state == v1.CONTAINER_RUNNING
    survivor.node.kill()
    pods = survivor.start()
    status = pods.exited(container_id)
    assert (status.exit_code, status.reason) == (7, "Error")
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def is_clear(error: PodwrightError, step: str) -> None:
    """The error says which stage failed, and is none that nobody thought of."""
    assert f"failpoint {step}" in str(error)
    assert "internal error" not in str(error)
