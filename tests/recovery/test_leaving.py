"""A daemon that is told to end."""

import threading
import time

import pytest

from podwright.cri import v1
from podwright.errors import PodwrightError, Unavailable
from recovery.conftest import Survivor

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
