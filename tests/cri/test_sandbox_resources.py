"""UpdatePodSandboxResources: what kubelets tell at a resize is kept, also over a restart, and shown."""

import json
from typing import Any

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument, NotFound
from support.cri import Pods

pytestmark = pytest.mark.root


def shown(pods: Pods, sandbox: str) -> Any:
    """The Linux part of the configuration that a verbose status shows."""
    return json.loads(pods.cri.pod_sandbox_status(sandbox, verbose=True).info["info"])["config"]["linux"]


def test_the_sums_are_kept(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    assert "resources" not in shown(pods, sandbox)
    sums = v1.LinuxContainerResources(cpu_quota=150000, cpu_period=100000, memory_limit_in_bytes=256 << 20)
    pods.cri.update_pod_sandbox_resources(sandbox, resources=sums, overhead=v1.LinuxContainerResources(cpu_shares=10))
    pods.node.kill()
    pods.node.start()
    assert shown(pods, sandbox)["resources"]["memory_limit_in_bytes"] == str(256 << 20)
    assert shown(pods, sandbox)["overhead"] == {"cpu_shares": "10"}
    pods.cri.update_pod_sandbox_resources(sandbox, resources=v1.LinuxContainerResources(cpu_quota=50000))
    assert shown(pods, sandbox)["resources"] == {"cpu_quota": "50000"}


def test_what_is_refused(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    with pytest.raises(InvalidArgument, match=r"resources\.cpu_quota"):
        pods.cri.update_pod_sandbox_resources(sandbox, resources=v1.LinuxContainerResources(cpu_quota=-5))
    with pytest.raises(NotFound):
        pods.cri.update_pod_sandbox_resources("no-such-sandbox")
    pods.cri.stop_pod_sandbox(sandbox)
    with pytest.raises(FailedPrecondition):
        pods.cri.update_pod_sandbox_resources(sandbox, resources=v1.LinuxContainerResources(cpu_shares=10))
