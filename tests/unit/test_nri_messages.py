"""What of NRI's messages is understood, and how much of a node is told at a time."""

import asyncio

import pytest

from podwright.errors import FailedPrecondition
from podwright.nri import adjust, limits, owners, v1
from podwright.nri.gate import Gate
from podwright.nri.owners import Owners
from podwright.nri.plugins import _portions
from podwright.nri.wishes import Wishes


def fields(message: type[v1.LinuxMemory] | type[v1.LinuxCPU] | type[v1.LinuxContainerAdjustment]) -> set[str]:
    return {field.name for field in message.DESCRIPTOR.fields}


def test_every_limit_has_a_place_in_the_document_and_an_owner() -> None:
    known = {(part, field) for part, names in limits._DOCUMENT.items() for field in names}
    assert {field for part, field in known if part == "memory"} == fields(v1.LinuxMemory)
    assert {field for part, field in known if part == "cpu"} == fields(v1.LinuxCPU)
    assert known == owners._LIMITS.keys()


def test_every_adjustment_is_carried_out_or_refused() -> None:
    carried_out = {
        "devices",
        "resources",
        "cgroups_path",
        "oom_score_adj",
        "seccomp_policy",
        "namespaces",
        "sysctl",
        "rdt",
    }
    assert carried_out | {*adjust._UNSUPPORTED} == fields(v1.LinuxContainerAdjustment)


def test_limits_keep_their_value_through_all_forms() -> None:
    document = {
        "memory": {"limit": 1 << 30, "swap": 1 << 31, "reservation": 5, "swappiness": 0, "disableOOMKiller": True},
        "cpu": {"shares": 2, "quota": -1, "period": 100000, "cpus": "0-3", "mems": "0"},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}],
        "unified": {"memory.high": "max"},
        "pids": {"limit": 7},
    }
    described = limits.from_document(document)
    known, rest = limits.split(described)
    assert (known.memory_limit_in_bytes, known.cpu_quota, known.cpuset_cpus) == (1 << 30, -1, "0-3")
    assert dict(known.unified) == document["unified"]
    assert rest == {"memory": {"reservation": 5, "swappiness": 0, "disableOOMKiller": True}, "pids": {"limit": 7}}
    again = limits.from_cri(known)
    assert again.cpu == described.cpu
    assert again.hugepage_limits == described.hugepage_limits


def test_a_later_zero_overrides() -> None:
    present = v1.LinuxResources(cpu=v1.LinuxCPU(quota=v1.OptionalInt64(value=5), shares=v1.OptionalUInt64(value=6)))
    limits.override(present, v1.LinuxResources(cpu=v1.LinuxCPU(quota=v1.OptionalInt64(value=0))))
    assert limits.given(present) == {("cpu", "quota"): 0, ("cpu", "shares"): 6}


def shares(container_id: str, value: int, *, ignore_failure: bool = False) -> v1.ContainerUpdate:
    resources = v1.LinuxResources(cpu=v1.LinuxCPU(shares=v1.OptionalUInt64(value=value)))
    linux = v1.LinuxContainerUpdate(resources=resources)
    return v1.ContainerUpdate(container_id=container_id, linux=linux, ignore_failure=ignore_failure)


def test_wishes_for_the_same_limit() -> None:
    wishes, owning = Wishes("new"), Owners()
    wishes.add("1-a", owning, [shares("x", 5)], ())
    wishes.add("2-b", owning, [shares("x", 6, ignore_failure=True), shares("y", 7)], ())
    assert {name: limits.given(u.linux.resources) for name, u in wishes.updates.items()} == {
        "x": {("cpu", "shares"): 5},
        "y": {("cpu", "shares"): 7},
    }
    with pytest.raises(FailedPrecondition, match='"1-a" and "3-c" both set CPU_SHARES of container "x"'):
        wishes.add("3-c", owning, [shares("x", 8)], ())
    with pytest.raises(FailedPrecondition, match="that it is to adjust"):
        wishes.add("1-a", owning, [shares("new", 1)], ())


def test_a_large_node_is_told_in_portions() -> None:
    pods = [v1.PodSandbox(id=str(number), annotations={"a": "x" * 500_000}) for number in range(10)]
    containers = [v1.Container(id=str(number)) for number in range(3)]
    requests = _portions(pods, containers)
    assert len(requests) == 2
    assert [request.more for request in requests] == [True, False]
    assert all(request.ByteSize() < 4 << 20 for request in requests)
    assert [pod.id for request in requests for pod in request.pods] == [pod.id for pod in pods]
    assert [container.id for container in requests[-1].containers] == ["0", "1", "2"]
    assert _portions([], []) == [v1.SynchronizeRequest()]


def test_a_creation_that_does_not_end_keeps_the_gate_closed_to_plugins_only() -> None:
    async def arrive(gate: Gate) -> None:
        async with gate.arrival():
            pass

    async def scenario() -> None:
        gate = Gate()
        async with gate.creation():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(arrive(gate), 0.01)
            async with gate.creation():
                pass
        await arrive(gate)

    asyncio.run(scenario())
