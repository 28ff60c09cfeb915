"""PodSandboxStats and ListPodSandboxStats: figures of ready sandboxes, with those of their containers."""

import os
from collections.abc import Mapping, Sequence

from podwright.clock import now_ns
from podwright.core import view
from podwright.core.container_stats import fill_stats, written
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.network.request import INTERFACE
from podwright.oci import resources
from podwright.state.records import Container, Sandbox
from podwright.stats import stats_messages as fill
from podwright.stats.network import Interface, interfaces
from podwright.stats.trees import TreeUsage


def read_stats(runtime: Runtime, sandboxes: Sequence[Sandbox]) -> list[v1.PodSandboxStats]:
    """Figures of ready sandboxes. Blocking. One that is stopped meanwhile has attributes, and what was still there."""
    traffic = read_traffic(runtime, sandboxes)
    usages = written(runtime, [container for sandbox in sandboxes for container in running(sandbox)])
    return [_read(runtime, sandbox, usages, traffic.get(sandbox.id)) for sandbox in sandboxes]


def read_traffic(runtime: Runtime, sandboxes: Sequence[Sandbox]) -> dict[str, list[Interface]]:
    """The interfaces of sandboxes by id. Those with the host's network have none of their own."""
    pins = {sandbox.id: view.pins(runtime.paths, sandbox.id, sandbox.config) for sandbox in sandboxes}
    return interfaces({sandbox_id: own["net"] for sandbox_id, own in pins.items() if "net" in own})


def own_cgroup(runtime: Runtime, sandbox: Sandbox) -> str | None:
    """The cgroup that has just this sandbox in it; None if its parent is one that it shares with others, such as
    system.slice.

    Kubelets make one a pod, with the pod's uid in its name; systemd wants underscores for the dashes there.
    """
    parent, uid = sandbox.facts.cgroup_parent, sandbox.config.metadata.uid
    name = os.path.basename(parent).removesuffix(".slice")
    if name != sandbox.id and not name.endswith((f"pod{uid}", f"pod{uid.replace('-', '_')}")):
        return None
    return resources.parent_cgroup(parent, runtime.host.driver)


def running(sandbox: Sandbox) -> list[Container]:
    """The sandbox's running containers. Looks at a copy: the event loop adds and removes some meanwhile."""
    return [container for container in list(sandbox.containers.values()) if container.status.phase == "running"]


def _read(
    runtime: Runtime, sandbox: Sandbox, usages: Mapping[str, TreeUsage], traffic: list[Interface] | None
) -> v1.PodSandboxStats:
    stats = v1.PodSandboxStats(attributes=_attributes(sandbox))
    for container in running(sandbox):
        fill_stats(stats.linux.containers.add(), runtime, container, usages.get(container.id))
    cgroup = own_cgroup(runtime, sandbox)
    sample = runtime.stats.meters.sample(sandbox.id, cgroup) if cgroup else None
    now = now_ns()
    if sample is not None:
        fill.fill_cpu(stats.linux.cpu, sample, now)
        fill.fill_memory(stats.linux.memory, sample, now)
        fill.fill_io(stats.linux.io, sample, now)
    else:
        _fill_sums(stats.linux, now)
    if traffic is not None:
        fill.fill_network(stats.linux.network, traffic, INTERFACE, now)
    cgroups = [cgroup] if cgroup else [c.status.cgroup for c in list(sandbox.containers.values()) if c.status.cgroup]
    stats.linux.process.timestamp = now
    stats.linux.process.process_count.value = sum(runtime.host.cgroups.count_processes(path) for path in cgroups)
    return stats


def _attributes(sandbox: Sandbox) -> v1.PodSandboxAttributes:
    config = sandbox.config
    return v1.PodSandboxAttributes(
        id=sandbox.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
    )


def _fill_sums(stats: v1.LinuxPodSandboxStats, now: int) -> None:
    """What the containers use together, where the sandbox has no cgroup of its own to read it from."""
    containers = stats.containers
    stats.cpu.timestamp = stats.memory.timestamp = now
    cpu, memory = stats.cpu, stats.memory
    cpu.usage_core_nano_seconds.value = sum(c.cpu.usage_core_nano_seconds.value for c in containers)
    if containers and all(c.cpu.HasField("usage_nano_cores") for c in containers):
        cpu.usage_nano_cores.value = sum(c.cpu.usage_nano_cores.value for c in containers)
    memory.usage_bytes.value = sum(c.memory.usage_bytes.value for c in containers)
    memory.working_set_bytes.value = sum(c.memory.working_set_bytes.value for c in containers)
    memory.rss_bytes.value = sum(c.memory.rss_bytes.value for c in containers)
    memory.page_faults.value = sum(c.memory.page_faults.value for c in containers)
    memory.major_page_faults.value = sum(c.memory.major_page_faults.value for c in containers)
