"""Limits of containers: at creation, changed while created and while running, and as they are told."""

import os
import resource
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.kernel import cgroups
from podwright.kernel.process import may_raise_limits, oom_score_adj
from support.cri import Pods, secured

pytestmark = pytest.mark.root

HIERARCHIES = cgroups.detect()
V2 = HIERARCHIES.mode == "v2"


def value(pods: Pods, container_id: str, v1_name: str, v2_name: str) -> str:
    """What a file of the container's cgroup says."""
    path = pods.info(container_id)["cgroup"]
    directory = HIERARCHIES.directory(v1_name.partition(".")[0], path)
    return Path(directory, v2_name if V2 else v1_name).read_text().strip()


def memory(pods: Pods, container_id: str) -> int:
    return int(value(pods, container_id, "memory.limit_in_bytes", "memory.max"))


def quota(pods: Pods, container_id: str) -> tuple[int, int]:
    if V2:
        of, period = value(pods, container_id, "", "cpu.max").split()
        return -1 if of == "max" else int(of), int(period)
    return (
        int(value(pods, container_id, "cpu.cfs_quota_us", "")),
        int(value(pods, container_id, "cpu.cfs_period_us", "")),
    )


def shares(pods: Pods, container_id: str) -> int:
    return int(value(pods, container_id, "cpu.shares", "cpu.weight"))


def limits(**fields: object) -> v1.LinuxContainerResources:
    return v1.LinuxContainerResources(**fields)  # type: ignore[arg-type]


def limited(**fields: object) -> v1.LinuxContainerConfig:
    linux = secured()
    linux.resources.CopyFrom(limits(**fields))
    return linux


@pytest.fixture(params=["crun", "runc"])
def sandbox(pods: Pods, request: pytest.FixtureRequest) -> str:
    return pods.run_sandbox(handler=request.param)


def test_limits_at_creation(pods: Pods, sandbox: str) -> None:
    linux = limited(
        cpu_period=50000,
        cpu_quota=25000,
        cpu_shares=512,
        memory_limit_in_bytes=64 << 20,
        memory_swap_limit_in_bytes=64 << 20,
        cpuset_cpus="0",
        hugepage_limits=[v1.HugepageLimit(page_size="2MB"), v1.HugepageLimit(page_size="1GB")],
    )
    container_id = pods.start(sandbox, pods.container_config(linux=linux))
    assert memory(pods, container_id) == 64 << 20
    assert quota(pods, container_id) == (25000, 50000)
    assert V2 or shares(pods, container_id) == 512
    assert value(pods, container_id, "cpuset.cpus", "cpuset.cpus") == "0"
    told = pods.status(container_id).resources.linux
    assert (told.memory_limit_in_bytes, told.cpu_quota, told.cpu_period) == (64 << 20, 25000, 50000)
    assert told == linux.resources


@pytest.mark.parametrize("running", [False, True], ids=["created", "running"])
def test_limits_are_changed(pods: Pods, sandbox: str, *, running: bool) -> None:
    linux = limited(memory_limit_in_bytes=64 << 20, cpu_shares=512)
    container_id = pods.create(sandbox, pods.container_config(linux=linux))
    if running:
        pods.cri.start_container(container_id)
    pods.cri.update_container_resources(
        container_id, linux=limits(memory_limit_in_bytes=128 << 20, cpu_quota=30000, cpu_period=100000)
    )
    if not running:
        pods.cri.start_container(container_id)
    assert memory(pods, container_id) == 128 << 20
    assert quota(pods, container_id) == (30000, 100000)
    assert V2 or shares(pods, container_id) == 512
    told = pods.status(container_id).resources.linux
    assert (told.memory_limit_in_bytes, told.cpu_quota, told.cpu_shares) == (128 << 20, 30000, 512)
    assert pods.exec(container_id, "echo alive") == "alive\n"

    pods.cri.update_container_resources(container_id, linux=limits(memory_limit_in_bytes=32 << 20))
    assert memory(pods, container_id) == 32 << 20, "down again, where the swap limit must be lowered first or last"


def test_a_quota_is_lifted(pods: Pods, sandbox: str) -> None:
    unlimited = pods.start(sandbox, linux=limited(cpu_quota=-1, cpu_period=100000))
    assert quota(pods, unlimited) == (-1, 100000)
    container_id = pods.start(sandbox, linux=limited(cpu_quota=25000, cpu_period=50000))
    pods.cri.update_container_resources(container_id, linux=limits(cpu_quota=-1))
    assert quota(pods, container_id) == (-1, 50000)
    assert pods.status(container_id).resources.linux.cpu_quota == -1


def test_a_refused_change_changes_nothing(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, pods.container_config(linux=limited(memory_limit_in_bytes=64 << 20)))
    before = pods.status(container_id).resources
    with pytest.raises(InvalidArgument, match=r"linux\.memory_limit_in_bytes: 5 "):
        pods.cri.update_container_resources(container_id, linux=limits(memory_limit_in_bytes=5))
    with pytest.raises(InvalidArgument, match="linux is missing"):
        pods.cri.update_container_resources(container_id)
    assert pods.status(container_id).resources == before
    assert memory(pods, container_id) == 64 << 20


def test_what_has_ended_has_no_limits(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox, "exit 0")
    pods.exited(container_id)
    with pytest.raises(FailedPrecondition, match="is exited: it has no limits to change"):
        pods.cri.update_container_resources(container_id, linux=limits(cpu_shares=10))


def test_oom_score_adj_as_far_as_the_daemon_may(pods: Pods, sandbox: str) -> None:
    for wanted in (-997, 0, 3, 1000):
        container_id = pods.start(sandbox, pods.container_config(linux=limited(oom_score_adj=wanted)))
        expected = wanted if may_raise_limits() else max(wanted, oom_score_adj())
        assert int((pods.proc(container_id) / "oom_score_adj").read_text()) == expected
        assert pods.exec(container_id, "cat /proc/self/oom_score_adj") == f"{expected}\n"


def test_open_files_as_far_as_the_daemon_may(pods: Pods, sandbox: str) -> None:
    container_id = pods.start(sandbox)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(pods.exec(container_id, "ulimit -Hn")) == (1048576 if may_raise_limits() else min(hard, 1048576))


def test_the_cgroup_is_below_the_sandbox_s_parent(pods: Pods) -> None:
    parent = f"{pods.node.cgroup}/burstable/pod1"
    for root in {*HIERARCHIES.controllers.values(), HIERARCHIES.unified} - {None}:
        os.makedirs(f"{root}{parent}", exist_ok=True)  # as a kubelet does
    try:
        config = pods.sandbox_config()
        config.linux.cgroup_parent = parent
        sandbox_id = pods.run_sandbox(config)
        container_id = pods.start(sandbox_id)
        assert pods.info(container_id)["cgroup"] == f"{parent}/{container_id}"
        pods.cri.remove_pod_sandbox(sandbox_id)
        assert HIERARCHIES.directories(parent), "who made it removes it"
        assert not HIERARCHIES.directories(f"{parent}/{container_id}")
    finally:
        HIERARCHIES.remove(parent, up_to=pods.node.cgroup)


@pytest.mark.skipif(HIERARCHIES.mode != "hybrid", reason="a hybrid host has two kinds of hierarchies")
def test_a_parent_of_cgroup_v1_leaves_nothing_in_v2(pods: Pods) -> None:
    parent = f"{pods.node.cgroup}/burstable/pod3"
    for root in HIERARCHIES.controllers.values():
        os.makedirs(f"{root}{parent}", exist_ok=True)  # as kubelet 1.20 does
    shadow = Path(f"{HIERARCHIES.unified}{parent}")
    try:
        config = pods.sandbox_config()
        config.linux.cgroup_parent = parent
        first = pods.run_sandbox(config)
        pods.start(first)
        assert shadow.exists(), "the OCI runtime joins it"
        pods.cri.stop_pod_sandbox(first)
        config.metadata.attempt = 1
        second = pods.run_sandbox(config)
        pods.start(second)
        pods.cri.remove_pod_sandbox(first)
        assert shadow.exists(), "the pod's next sandbox uses it"
        pods.cri.remove_pod_sandbox(second)
        assert not shadow.exists()
    finally:
        HIERARCHIES.remove(parent, up_to=pods.node.cgroup)


def test_a_parent_that_nobody_made_goes_with_the_sandbox(pods: Pods) -> None:
    config = pods.sandbox_config()
    config.linux.cgroup_parent = f"{pods.node.cgroup}/own/pod2"
    sandbox_id = pods.run_sandbox(config)
    pods.start(sandbox_id)
    assert HIERARCHIES.exists(config.linux.cgroup_parent)
    pods.cri.stop_pod_sandbox(sandbox_id)
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert not HIERARCHIES.exists(config.linux.cgroup_parent)
