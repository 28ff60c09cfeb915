"""Plugins of the Node Resource Interface: told of the life of pods, asked, and obeyed."""

import pytest

from podwright.nri import v1
from support import nri
from support.cri import Pods
from support.node import Node

pytestmark = pytest.mark.root


@pytest.fixture
def socket(machine: Node) -> str:
    """Where the daemon of the node takes plugins, as the test sees it."""
    return f"/proc/{machine.holder}/root/run/nri/nri.sock"


def test_a_plugin_is_told_of_the_life_of_a_pod(pods: Pods, socket: str) -> None:
    with nri.plugin(socket) as plugin:
        sandbox = pods.run_sandbox()
        container = pods.start(sandbox, "sleep 1000")
        pods.cri.stop_container(container, timeout=0)
        pods.cri.remove_container(container)
        pods.cri.stop_pod_sandbox(sandbox)
        pods.cri.remove_pod_sandbox(sandbox)
        assert plugin.names(sandbox) == ["RunPodSandbox", "StopPodSandbox", "RemovePodSandbox"]
        assert plugin.names(container) == [
            "CreateContainer",
            "ValidateContainerAdjustment",
            "PostCreateContainer",
            "StartContainer",
            "PostStartContainer",
            "StopContainer",
            "RemoveContainer",
        ]
