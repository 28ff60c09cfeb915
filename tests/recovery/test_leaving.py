"""A daemon that is told to end, or to read its configuration again."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.errors import DeadlineExceeded, PodwrightError, Unavailable
from podwright.testing.cni import FakePlugin
from recovery.conftest import Survivor
from support.cri import Pods, until
from support.node import node

pytestmark = pytest.mark.root


def test_no_grace_period_keeps_the_daemon(survivor: Survivor) -> None:
    pods = survivor.start()
    sandbox_id = pods.run_sandbox()
    container_id = pods.start(sandbox_id, "trap 'echo asked' TERM; echo ready; while true; do sleep 0.05; done")
    pods.says(container_id, "ready")
    failures: list[PodwrightError] = []

    def stop() -> None:
        try:
            pods.cri.stop_container(container_id, timeout=600)
        except PodwrightError as error:
            failures.append(error)

    stopping = threading.Thread(target=stop)
    stopping.start()
    pods.says(container_id, "asked")
    begun = time.monotonic()
    assert survivor.node.stop() == 0
    assert time.monotonic() - begun < 4
    stopping.join(20)
    assert [type(failure) for failure in failures] == [Unavailable]

    pods = survivor.start()
    survivor.bystander.is_as_before(pods)
    assert pods.status(container_id).state == v1.CONTAINER_RUNNING
    pods.cri.stop_container(container_id, timeout=0)
    assert pods.exited(container_id).exit_code == 137
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert survivor.leaks() == {}


def test_sighup_reads_the_configuration_again(survivor: Survivor) -> None:
    pods = survivor.start()
    log = survivor.node.log

    def reload(expected: str) -> str:
        """What is logged from the signal on, once it has `expected` in it."""
        begin = len(log.read_text())
        os.kill(survivor.node.daemon, signal.SIGHUP)
        return until(lambda: log.read_text()[begin:], lambda text: expected in text)

    survivor.node.write_config("[log]")  # twice the same table
    reload("the configuration stays as it is")
    survivor.node.write_config("[runtime]\nopen_files = 4096", log_level="warning")
    assert "a restart is needed for runtime" in reload("the log is as configured now")
    begin = len(log.read_text())
    sandbox_id = pods.run_sandbox()
    assert len(log.read_text()) == begin, "nothing below a warning is logged any more"
    pods.cri.remove_pod_sandbox(sandbox_id)
    survivor.node.write_config()
    reload("the log is as configured now")
    survivor.bystander.is_as_before(pods)
    assert survivor.leaks() == {}


def test_no_unfinished_business_keeps_the_daemon(tmp_path: Path) -> None:
    """A plugin hangs in the DEL that the last daemon has left to this one."""
    with node() as machine:
        plugin = FakePlugin(str(tmp_path), "slow")
        conflist = {"cniVersion": "1.0.0", "name": "slow", "plugins": [{"type": "slow"}]}
        (machine.cni / "10-test.conflist").write_text(json.dumps(conflist))
        config = machine.config.read_text()
        machine.config.write_text(config.replace("[network]", f'[network]\nplugin_dirs = ["{tmp_path}"]'))
        machine.start()
        pods = Pods(machine)
        sandbox_id = pods.run_sandbox(pods.networked_config())
        plugin.hang("DEL")
        with pytest.raises(DeadlineExceeded):
            pods.cri.stop_pod_sandbox(sandbox_id, deadline=1)
        machine.kill()
        machine.start()
        until(lambda: plugin.runs("DEL"), lambda runs: len(runs) == 2)
        begun = time.monotonic()
        assert machine.stop() == 0
        assert time.monotonic() - begun < 10
        pods.close()
