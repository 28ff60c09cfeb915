"""A node whose daemon is killed again and again, while one pod lives through all of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from podwright.cri import v1
from podwright.wire import cri_log
from support.cri import Pods
from support.leaks import Snapshot, leaks, snapshot
from support.node import Node, node

COUNTING = "i=0; while true; do echo $i; i=$((i+1)); usleep 10000; done"


@dataclass
class Bystander:
    """A pod that nothing may happen to, and how it was at first."""

    sandbox: v1.PodSandboxStatus
    container: v1.ContainerStatus

    def is_as_before(self, pods: Pods) -> None:
        """Same ids, times and states, and a log without a gap."""
        assert pods.sandbox(self.sandbox.id) == self.sandbox
        assert pods.status(self.container.id) == self.container
        with open(self.container.log_path, "rb") as log:
            lines = cri_log.LogReader().receive(log.read())
        texts = [line.text for line in lines if isinstance(line, cri_log.Line)]
        assert texts == [str(number).encode() for number in range(len(lines))]
        assert pods.exec(self.container.id, "echo alive") == "alive\n"


@dataclass
class Survivor:
    """The node, its bystander, and what is there when nothing else is."""

    node: Node
    bystander: Bystander
    clean: Snapshot

    def start(self, failpoint: str = "") -> Pods:
        """Starts the daemon, which will die or fail at `failpoint`; returns a new client."""
        self.node.environment = {"PODWRIGHT_FAILPOINT": failpoint} if failpoint else {}
        self.node.start()
        return Pods(self.node)

    def died(self) -> None:
        """Makes sure that the daemon has gone by itself."""
        assert self.node.wait() != 0

    def leaks(self) -> dict[str, list[str]]:
        """What is there besides the bystander."""
        return leaks(self.node, self.clean)


@pytest.fixture(scope="module")
def machine() -> Iterator[Survivor]:
    """A node that all tests of a module share; the daemon does not run yet."""
    with node() as made:
        made.start()
        pods = Pods(made)
        pods.warm_up()
        sandbox_id = pods.run_sandbox(pods.networked_config())
        linux = v1.LinuxContainerConfig()
        container_id = pods.start(sandbox_id, pods.container_config(COUNTING, linux=linux))
        pods.says(container_id, "3")
        bystander = Bystander(pods.sandbox(sandbox_id), pods.status(container_id))
        pods.close()
        clean = snapshot(made)
        made.stop()
        yield Survivor(made, bystander, clean)


@pytest.fixture
def survivor(machine: Survivor) -> Iterator[Survivor]:
    """The node, on which the bystander has been left alone and nothing else is left when the test is over."""
    yield machine
    if machine.node.running:
        machine.node.kill()
