"""Stats of containers and sandboxes, against the kernel's own files and against ip(8)."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition, NotFound
from podwright.kernel import cgroups
from support.cri import Pods, host_network, until

pytestmark = pytest.mark.root

HIERARCHIES = cgroups.detect()
V2 = HIERARCHIES.mode == "v2"
BUSY = "while :; do i=$((i+1)); done"


def limited(memory: int = 64 << 20, **fields: Any) -> v1.LinuxContainerConfig:
    """Limits, and a PID namespace of the container's own."""
    options = v1.NamespaceOption(pid=v1.CONTAINER)
    return v1.LinuxContainerConfig(
        resources=v1.LinuxContainerResources(memory_limit_in_bytes=memory, **fields),
        security_context=v1.LinuxContainerSecurityContext(namespace_options=options),
    )


def kernel_number(cgroup: str, controller: str, v1_name: str, v2_name: str) -> int:
    """A number out of a cgroup's file."""
    return int(Path(HIERARCHIES.directory(controller, cgroup), v2_name if V2 else v1_name).read_text())


def kernel_fields(cgroup: str, controller: str, name: str) -> dict[str, int]:
    """A file of names and numbers."""
    lines = Path(HIERARCHIES.directory(controller, cgroup), name).read_text().splitlines()
    return {key: int(value) for key, value in (line.split() for line in lines)}


def between(before: int, told: int, after: int) -> bool:
    """Whether a counter that only grows was read in between."""
    return before <= told <= after


def test_figures_are_the_kernels(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    container = pods.start(
        sandbox, "dd if=/dev/zero of=/tmp/file bs=1M count=8; echo filled; " + BUSY, linux=limited(), labels={"a": "b"}
    )
    pods.says(container, "filled")
    cgroup = pods.info(container)["cgroup"]

    def cpu() -> int:
        if V2:
            return kernel_fields(cgroup, "cpu", "cpu.stat")["usage_usec"] * 1000
        return kernel_number(cgroup, "cpuacct", "cpuacct.usage", "")

    before = cpu()
    stats = pods.cri.container_stats(container).stats
    assert between(before, stats.cpu.usage_core_nano_seconds.value, cpu())
    assert stats.attributes.id == container
    assert stats.attributes.labels == {"a": "b"}
    assert stats.attributes.metadata == pods.status(container).metadata
    assert abs(stats.cpu.timestamp - time.time_ns()) < 10**9

    memory, stat = stats.memory, kernel_fields(cgroup, "memory", "memory.stat")
    prefix = "" if V2 else "total_"
    usage = kernel_number(cgroup, "memory", "memory.usage_in_bytes", "memory.current")
    near = 1 << 20  # per-CPU caches of charges
    assert abs(memory.usage_bytes.value - usage) < near
    assert memory.usage_bytes.value > 8 << 20  # the file is in the page cache
    assert abs(memory.working_set_bytes.value - (usage - stat[f"{prefix}inactive_file"])) < near
    assert abs(memory.rss_bytes.value - stat["anon" if V2 else "total_rss"]) < near
    assert abs(memory.page_faults.value - stat[f"{prefix}pgfault"]) < 100
    assert memory.major_page_faults.value == stat[f"{prefix}pgmajfault"]
    assert memory.available_bytes.value == (64 << 20) - memory.working_set_bytes.value


def test_the_rate_of_cpu_time(pods: Pods) -> None:
    """One CPU that is limited to a half gives half a core; the first answer has no rate to tell."""
    sandbox = pods.run_sandbox()
    half = pods.start(sandbox, BUSY, linux=limited(cpu_period=20000, cpu_quota=10000))
    idle = pods.start(sandbox, "sleep 1000")
    first = {stats.attributes.id: stats for stats in pods.cri.list_container_stats().stats}
    assert not any(stats.cpu.HasField("usage_nano_cores") for stats in first.values())
    time.sleep(2)
    second = {stats.attributes.id: stats for stats in pods.cri.list_container_stats().stats}
    used = second[half].cpu.usage_core_nano_seconds.value - first[half].cpu.usage_core_nano_seconds.value
    passed = (second[half].cpu.timestamp - first[half].cpu.timestamp) / 1e9
    assert second[half].cpu.usage_nano_cores.value == pytest.approx(used / passed, rel=0.02)
    assert 0.1e9 < second[half].cpu.usage_nano_cores.value < 0.65e9
    assert second[idle].cpu.usage_nano_cores.value < 0.05e9
    # Asked again at once, the rate is not made of a few milliseconds.
    assert pods.cri.container_stats(half).stats.cpu.usage_nano_cores == second[half].cpu.usage_nano_cores


@pytest.mark.skipif(HIERARCHIES.unified is None, reason="only cgroup v2 accounts for pressure")
def test_pressure_is_that_of_the_cgroup(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    script = f"({BUSY}) & ({BUSY}) & ({BUSY}) & wait"
    container = pods.start(sandbox, script, linux=limited(cpu_period=20000, cpu_quota=10000))
    file = Path(f"{HIERARCHIES.unified}{pods.info(container)['cgroup']}/cpu.pressure")

    def total() -> int:
        found = re.search(r"some .*total=(\d+)", file.read_text())
        assert found
        return int(found[1])

    before = until(total, lambda value: value > 100_000)
    stats = pods.cri.container_stats(container).stats
    assert between(before, stats.cpu.psi.Some.Total, total())
    assert stats.cpu.psi.Some.Avg10 >= 0
    for usage in (stats.cpu, stats.memory, stats.io):
        assert usage.HasField("psi")


def du(path: Path, option: str) -> int:
    """What du(1) says of a tree."""
    return int(subprocess.run(["du", "-s", option, path], capture_output=True, text=True, check=True).stdout.split()[0])


def test_what_was_written(pods: Pods) -> None:
    """Known at the first question; du(1) says the same."""
    sandbox = pods.run_sandbox()
    script = (
        "mkdir /dir; for i in 1 2 3; do dd if=/dev/zero of=/dir/$i bs=100k count=1; done; ln /dir/1 /dir/4; rm -r /mnt"
    )
    container = pods.start(sandbox, f"{script}; echo written; sleep 1000")
    pods.says(container, "written")
    upper = pods.node.root / "containers" / container / "upper"
    layer = pods.cri.container_stats(container).stats.writable_layer
    assert layer.used_bytes.value == du(upper, "--block-size=1") - upper.stat().st_blocks * 512
    assert layer.used_bytes.value > 3 * 100 * 1024
    assert layer.inodes_used.value == du(upper, "--inodes") - 1  # without the directory itself
    assert os.path.isdir(layer.fs_id.mountpoint)
    (listed,) = pods.cri.list_container_stats().stats
    assert listed.writable_layer == layer  # measured once, not at each question


def test_a_link_to_the_host_is_not_followed(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    container = pods.start(sandbox, "ln -s / /up; ln -s /usr /var/usr; echo linked; sleep 1000")
    pods.says(container, "linked")
    upper = pods.node.root / "containers" / container / "upper"
    assert pods.cri.container_stats(container).stats.writable_layer.inodes_used.value == du(upper, "--inodes") - 1


def test_traffic_is_what_ip_says(pods: Pods) -> None:
    sandbox = pods.run_sandbox(pods.networked_config("talker"))
    container = pods.start(sandbox, "sleep 1000", linux=v1.LinuxContainerConfig())
    gateway = "10.89.0.1"
    pods.exec(container, f"ping -c 3 -i 0.1 -s 1000 {gateway}")
    pods.exec(container, "ip link add extra type dummy 2>/dev/null || true")
    netns = f"podwright-{sandbox}"

    def links() -> dict[str, dict[str, int]]:
        found = json.loads(pods.node.run("ip", "-n", netns, "-j", "-s", "link"))
        return {
            link["ifname"]: {
                f"{way}_{what}": link["stats64"][way][what] for way in ("rx", "tx") for what in ("bytes", "errors")
            }
            for link in found
            if link["ifname"] != "lo"
        }

    def told() -> dict[str, dict[str, int]]:
        network = pods.cri.pod_sandbox_stats(sandbox).stats.linux.network
        assert network.default_interface.name == "eth0"
        return {
            usage.name: {
                name: getattr(usage, name).value for name in ("rx_bytes", "rx_errors", "tx_bytes", "tx_errors")
            }
            for usage in (network.default_interface, *network.interfaces)
        }

    before, figures = until(lambda: (links(), told()), lambda pair: pair[0] == pair[1], seconds=10)
    assert before["eth0"]["tx_bytes"] > 3000
    assert figures["eth0"]["rx_bytes"] > 3000


def test_a_sandbox_is_the_sum_of_its_cgroup(pods: Pods) -> None:
    sandbox = pods.run_sandbox(pods.sandbox_config(labels={"which": "one"}))
    busy = pods.start(sandbox, BUSY)
    idle = pods.start(sandbox, "sleep 1000 & sleep 1000 & wait")
    until(lambda: pods.cri.pod_sandbox_stats(sandbox).stats.linux.process.process_count.value, lambda count: count == 4)
    parent = os.path.dirname(pods.info(busy)["cgroup"])
    (stats,) = pods.cri.list_pod_sandbox_stats(v1.PodSandboxStatsFilter(label_selector={"which": "one"})).stats
    assert {container.attributes.id for container in stats.linux.containers} == {busy, idle}
    assert stats.attributes.id == sandbox
    cpu = stats.linux.cpu.usage_core_nano_seconds.value
    assert cpu >= sum(container.cpu.usage_core_nano_seconds.value for container in stats.linux.containers)
    assert (
        abs(
            stats.linux.memory.usage_bytes.value
            - kernel_number(parent, "memory", "memory.usage_in_bytes", "memory.current")
        )
        < 1 << 20
    )
    assert not stats.linux.HasField("network")  # it has the host's
    assert pods.cri.list_pod_sandbox_stats(v1.PodSandboxStatsFilter(label_selector={"which": "other"})).stats == []


def test_a_sandbox_in_a_shared_cgroup_is_the_sum_of_its_containers(pods: Pods) -> None:
    """critest, and pods of no kubelet, put many pods into system.slice: that slice's figures are nobody's."""
    shared = f"{pods.node.cgroup}/shared"
    config = v1.LinuxPodSandboxConfig(cgroup_parent=shared, security_context=host_network())
    one, two = (pods.run_sandbox(pods.sandbox_config(linux=config)) for _ in range(2))
    pods.start(one, "sleep 1000")
    pods.start(two, BUSY)
    stats = {stats.attributes.id: stats.linux for stats in pods.cri.list_pod_sandbox_stats().stats}
    for sandbox in (one, two):
        (container,) = stats[sandbox].containers
        assert stats[sandbox].cpu.usage_core_nano_seconds == container.cpu.usage_core_nano_seconds
        assert stats[sandbox].memory.working_set_bytes == container.memory.working_set_bytes
        assert stats[sandbox].process.process_count.value == 1


def test_who_has_figures(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    created = pods.create(sandbox)
    running = pods.start(sandbox, "sleep 1000", labels={"n": "1"})
    ended = pods.start(sandbox, "exit 0")
    pods.exited(ended)
    other = pods.run_sandbox()
    elsewhere = pods.start(other, "sleep 1000")

    def ids(**fields: Any) -> set[str]:
        listed = {
            stats.attributes.id for stats in pods.cri.list_container_stats(v1.ContainerStatsFilter(**fields)).stats
        }
        streamed = pods.cri.stream_container_stats(v1.ContainerStatsFilter(**fields))
        assert {stats.attributes.id for portion in streamed for stats in portion.container_stats} == listed
        return listed

    assert ids() == {running, elsewhere}
    assert ids(pod_sandbox_id=sandbox) == {running}
    assert ids(id=running[:13]) == {running}
    assert ids(label_selector={"n": "1"}) == {running}
    assert ids(label_selector={"n": "2"}) == set()
    for container in (created, ended):
        with pytest.raises(FailedPrecondition):
            pods.cri.container_stats(container)
    with pytest.raises(NotFound):
        pods.cri.container_stats("no-such-container")
    with pytest.raises(NotFound):
        pods.cri.pod_sandbox_stats("no-such-sandbox")
    streamed = [
        stats.attributes.id for portion in pods.cri.stream_pod_sandbox_stats() for stats in portion.pod_sandbox_stats
    ]
    assert sorted(streamed) == sorted([sandbox, other])
    pods.cri.stop_pod_sandbox(other)
    with pytest.raises(FailedPrecondition):
        pods.cri.pod_sandbox_stats(other)


def open_files(pods: Pods, name: str) -> int:
    """How many files with this in their path the daemon has open."""
    return sum(name in path for path in pods.node.open_files())


def test_files_are_kept_open_only_for_those_that_run(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    container = pods.start(sandbox, "sleep 1000")
    assert open_files(pods, container) == 0
    pods.cri.container_stats(container)
    kept = open_files(pods, container)
    assert 0 < kept <= 9
    pods.cri.container_stats(container)
    assert open_files(pods, container) == kept
    pods.cri.stop_container(container, timeout=0)
    assert open_files(pods, container) == 0
