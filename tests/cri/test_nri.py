"""Plugins of the Node Resource Interface: told of the life of pods, asked, and obeyed."""

import json
import os
import socket as sockets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podwright.cri import v1 as cri
from podwright.errors import FailedPrecondition, Unimplemented
from podwright.kernel import cgroups
from podwright.nri import v1
from podwright.nri.connection import Refused
from support import nri
from support.cri import Pods, until
from support.node import Node

pytestmark = pytest.mark.root

HIERARCHIES = cgroups.detect()


@pytest.fixture
def socket(machine: Node) -> str:
    """Where the daemon of the node takes plugins, as the test sees it."""
    return f"/proc/{machine.holder}/root/run/nri/nri.sock"


def adjusting(**fields: Any) -> nri.Reply:
    """Adjusts each container so."""
    return lambda _request: v1.CreateContainerResponse(adjust=v1.ContainerAdjustment(**fields))


def on_linux(**fields: Any) -> nri.Reply:
    """Adjusts the Linux part of each container so."""
    return adjusting(linux=v1.LinuxContainerAdjustment(**fields))


def refusing(_request: Any) -> None:
    """Wants nothing to happen."""
    raise FailedPrecondition("not on my node")


def memory(container_id: str, limit: int, *, ignore_failure: bool = False) -> v1.ContainerUpdate:
    """The wish for a memory limit."""
    limits = v1.LinuxResources(memory=v1.LinuxMemory(limit=v1.OptionalInt64(value=limit)))
    linux = v1.LinuxContainerUpdate(resources=limits)
    return v1.ContainerUpdate(container_id=container_id, linux=linux, ignore_failure=ignore_failure)


def memory_of(pods: Pods, container_id: str) -> int:
    """The memory limit that a container shows."""
    return pods.status(container_id).resources.linux.memory_limit_in_bytes


# told


def test_a_plugin_is_told_of_the_life_of_a_pod(pods: Pods, socket: str) -> None:
    with nri.plugin(socket) as plugin:
        config = pods.networked_config(labels={"app": "web"}, annotations={"note": "x"})
        sandbox = pods.run_sandbox(config)
        container = pods.start(sandbox, "sleep 1000", name="main")
        limits = cri.LinuxContainerResources(memory_limit_in_bytes=100 << 20)
        pods.cri.update_container_resources(container, linux=limits)
        pods.cri.update_pod_sandbox_resources(sandbox, resources=limits)
        pods.cri.stop_container(container, timeout=0)
        pods.cri.stop_container(container, timeout=0)
        pods.cri.remove_container(container)
        pods.cri.stop_pod_sandbox(sandbox)
        pods.cri.stop_pod_sandbox(sandbox)
        pods.cri.remove_pod_sandbox(sandbox)
        assert plugin.names(sandbox) == [
            "RunPodSandbox",
            "UpdatePodSandbox",
            "PostUpdatePodSandbox",
            "StopPodSandbox",
            "RemovePodSandbox",
        ]
        assert plugin.names(container) == [
            "CreateContainer",
            "ValidateContainerAdjustment",
            "PostCreateContainer",
            "StartContainer",
            "PostStartContainer",
            "UpdateContainer",
            "PostUpdateContainer",
            "StopContainer",
            "RemoveContainer",
        ]
        (run,) = plugin.requests("RunPodSandbox")
        (stopped,) = plugin.requests("StopPodSandbox")
        (started,) = plugin.requests("PostStartContainer")
        (ended,) = plugin.requests("StopContainer")
        (summed,) = plugin.requests("UpdatePodSandbox")
    assert (run.pod.name, run.pod.namespace, run.pod.uid) == (config.metadata.name, "test", config.metadata.uid)
    assert (dict(run.pod.labels), dict(run.pod.annotations)) == ({"app": "web"}, {"note": "x"})
    assert run.pod.ips
    assert {n.type for n in run.pod.linux.namespaces} == {"network", "ipc", "uts"}
    assert stopped.pod.linux.namespaces == run.pod.linux.namespaces
    assert summed.linux_resources.memory.limit.value == 100 << 20
    assert (started.container.name, started.container.pod_sandbox_id) == ("main", sandbox)
    assert started.container.state == v1.CONTAINER_RUNNING
    assert list(started.container.args) == ["sh", "-c", "sleep 1000"]
    assert started.container.pid
    assert started.container.linux.cgroups_path.endswith(container)
    assert (ended.container.state, ended.container.exit_code) == (v1.CONTAINER_STOPPED, 137)
    assert ended.container.linux.resources.memory.limit.value == 0, "as the document says, which is of the creation"


def test_a_container_that_ends_by_itself(pods: Pods, socket: str) -> None:
    with nri.plugin(socket) as plugin:
        container = pods.start(pods.run_sandbox(), "exit 3")
        (ended,) = plugin.wait("StopContainer")
        assert (ended.container.id, ended.container.exit_code, ended.container.status_reason) == (container, 3, "Error")
        pods.cri.remove_container(container)
        assert plugin.names(container)[-2:] == ["StopContainer", "RemoveContainer"]


def test_removing_a_pod_ends_its_containers_first(pods: Pods, socket: str) -> None:
    with nri.plugin(socket) as plugin:
        sandbox = pods.run_sandbox()
        containers = {pods.start(sandbox), pods.create(sandbox)}
        pods.cri.remove_pod_sandbox(sandbox)
        ends = [name for name in plugin.names() if name.startswith(("Stop", "Remove"))]
        assert ends[:3] == ["StopContainer", "StopContainer", "StopPodSandbox"]
        assert sorted(ends[3:5]) == ["RemoveContainer", "RemoveContainer"]
        assert ends[5:] == ["RemovePodSandbox"]
        assert {request.container.id for request in plugin.requests("RemoveContainer")} == containers


def test_only_events_that_a_plugin_wants(pods: Pods, socket: str) -> None:
    with nri.plugin(socket, events=nri.mask(v1.START_CONTAINER, v1.REMOVE_POD_SANDBOX)) as plugin:
        sandbox = pods.run_sandbox()
        pods.start(sandbox)
        pods.cri.remove_pod_sandbox(sandbox)
        assert plugin.names() == ["Configure", "Synchronize", "StartContainer", "RemovePodSandbox"]


def test_an_old_plugin_is_told_of_changes_of_state(pods: Pods, socket: str) -> None:
    def unknown(_request: Any) -> None:
        raise Unimplemented("there is no such call")

    old = dict.fromkeys(("RunPodSandbox", "PostCreateContainer", "UpdateContainer", "RemoveContainer"), unknown)
    with nri.plugin(socket, replies=old) as plugin:
        sandbox = pods.run_sandbox()
        container = pods.start(sandbox)
        pods.cri.update_container_resources(container, linux=cri.LinuxContainerResources(cpu_shares=10))
        pods.cri.remove_container(container)
        pods.run_sandbox()
        changes = [(change.event, change.container.id) for change in plugin.requests("StateChange")]
        assert changes == [
            (v1.RUN_POD_SANDBOX, ""),
            (v1.POST_CREATE_CONTAINER, container),
            (v1.REMOVE_CONTAINER, container),
            (v1.RUN_POD_SANDBOX, ""),
        ]
        assert len(plugin.requests("RunPodSandbox")) == 1, "it is not asked again"


def test_what_is_there_when_a_plugin_arrives(pods: Pods, socket: str) -> None:
    stopped, sandbox = pods.run_sandbox(), pods.run_sandbox()
    pods.cri.stop_pod_sandbox(stopped)
    created, running, over = pods.create(sandbox), pods.start(sandbox), pods.start(sandbox, "exit 0")
    pods.exited(over)
    wish = v1.SynchronizeResponse(update=[memory(running, 64 << 20), memory(over, 64 << 20)])
    with nri.plugin(socket, Synchronize=lambda _request: wish) as plugin:
        (synchronized,) = plugin.requests("Synchronize")
        until(lambda: memory_of(pods, running), lambda limit: limit == 64 << 20)
    assert {pod.id for pod in synchronized.pods} == {stopped, sandbox}
    states = {container.id: container.state for container in synchronized.containers}
    assert states == {created: v1.CONTAINER_CREATED, running: v1.CONTAINER_RUNNING}
    assert all(list(container.args) == ["sh", "-c", "sleep 1000"] for container in synchronized.containers)


def begun(pods: Pods) -> int:
    """How many containers have their root file system."""
    return pods.node.log.read_text().count("container.rootfs")


def knows(plugin: nri.Plugin) -> list[str]:
    """The containers that a plugin has learned of, by either way."""
    (synchronized,) = plugin.requests("Synchronize")
    asked = plugin.requests("CreateContainer")
    return [container.id for container in synchronized.containers] + [request.container.id for request in asked]


def test_a_container_that_is_asked_for_while_a_plugin_arrives(pods: Pods, socket: str) -> None:
    looking, go_on = threading.Event(), threading.Event()

    def look(_request: Any) -> None:
        looking.set()
        assert go_on.wait(10)

    sandbox, before = pods.run_sandbox(), begun(pods)
    plugin = nri.Plugin(socket, replies={"Synchronize": look})
    arrival = threading.Thread(target=plugin.start)
    arrival.start()
    made: list[str] = []
    creation = threading.Thread(target=lambda: made.append(pods.create(sandbox)))
    try:
        assert looking.wait(10)
        creation.start()
        until(lambda: begun(pods), lambda number: number > before)
        go_on.set()
        creation.join(20)
        arrival.join(20)
        assert knows(plugin) == made
    finally:
        plugin.close()


def test_a_plugin_that_arrives_while_a_container_is_made(pods: Pods, socket: str, tmp_path: Path) -> None:
    """A hook holds up the OCI runtime: the container is not there yet, and who adjusts containers has been asked."""
    waits = f"touch {tmp_path}/reached; until [ -e {tmp_path}/go-on ]; do sleep 0.01; done"
    slow = adjusting(hooks=v1.Hooks(create_runtime=[v1.Hook(path="/bin/sh", args=["sh", "-c", waits])]))
    made: list[str] = []
    with nri.plugin(socket, "01", CreateContainer=slow):
        sandbox = pods.run_sandbox()
        creation = threading.Thread(target=lambda: made.append(pods.create(sandbox)))
        creation.start()
        until((tmp_path / "reached").exists, bool)
        plugin = nri.Plugin(socket, "02")
        arrival = threading.Thread(target=plugin.start)
        arrival.start()
        try:
            plugin.wait("Configure")
            (tmp_path / "go-on").touch()
            creation.join(20)
            arrival.join(20)
            assert knows(plugin) == made
        finally:
            plugin.close()


# asked


@pytest.fixture(params=["crun", "runc"])
def sandbox(pods: Pods, request: pytest.FixtureRequest) -> str:
    """A sandbox of each OCI runtime."""
    return pods.run_sandbox(handler=request.param)


def test_adjusted_process(pods: Pods, socket: str, sandbox: str) -> None:
    adjust = adjusting(
        env=[v1.KeyValue(key="ADDED", value="1"), v1.KeyValue(key="GIVEN", value="2"), v1.KeyValue(key="-GONE")],
        args=["sh", "-c", "env; ulimit -n; cat /proc/self/oom_score_adj; sleep 1000"],
        rlimits=[v1.POSIXRlimit(type="RLIMIT_NOFILE", soft=512, hard=1024)],
        annotations={"noted": "yes"},
        linux=v1.LinuxContainerAdjustment(oom_score_adj=v1.OptionalInt(value=987)),
    )
    config = pods.container_config("echo never", envs=[cri.KeyValue(key=k, value=b"0") for k in ("GIVEN", "GONE")])
    with nri.plugin(socket, CreateContainer=adjust) as plugin:
        container = pods.start(sandbox, config)
        pods.says(container, "987")
        (after,) = plugin.requests("PostCreateContainer")
    output = pods.output(container).split()
    assert {"ADDED=1", "GIVEN=2", "512"} <= set(output)
    assert "GONE" not in pods.output(container)
    assert after.container.annotations["noted"] == "yes"
    assert after.container.linux.oom_score_adj.value == 987
    assert pods.exec(container, "echo $ADDED") == "1\n", "what is executed in it has them too"


def test_adjusted_mounts_and_devices(pods: Pods, socket: str, sandbox: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the plugin")
    adjust = adjusting(
        mounts=[
            v1.Mount(destination="/injected", source=str(tmp_path), type="bind", options=["rbind", "ro", "rslave"]),
            v1.Mount(destination="-/taken"),
        ],
        linux=v1.LinuxContainerAdjustment(
            devices=[v1.LinuxDevice(path="/dev/nothing", type="c", major=1, minor=3)],
            sysctl={"kernel.shm_rmid_forced": "1"},
        ),
    )
    mount = cri.Mount(container_path="/taken", host_path=str(tmp_path))
    with nri.plugin(socket, CreateContainer=adjust):
        container = pods.start(sandbox, pods.container_config(mounts=[mount]))
    assert pods.exec(container, "cat /injected/file") == "from the plugin"
    assert pods.exec(container, "echo lost > /dev/nothing; test -e /taken || echo gone") == "gone\n"
    assert pods.exec(container, "cat /proc/sys/kernel/shm_rmid_forced") == "1\n"


def test_adjusted_limits_and_cgroup(pods: Pods, socket: str, sandbox: str) -> None:
    moved = f"{pods.node.cgroup}/of-a-plugin/leaf"

    def adjust(_request: Any) -> v1.CreateContainerResponse:
        limits = v1.LinuxResources(
            memory=v1.LinuxMemory(limit=v1.OptionalInt64(value=80 << 20), reservation=v1.OptionalInt64(value=40 << 20)),
            cpu=v1.LinuxCPU(shares=v1.OptionalUInt64(value=77), cpus="0"),
        )
        linux = v1.LinuxContainerAdjustment(resources=limits, cgroups_path=moved)
        return v1.CreateContainerResponse(adjust=v1.ContainerAdjustment(linux=linux))

    with nri.plugin(socket, CreateContainer=adjust):
        container = pods.start(sandbox)
    shown = pods.status(container).resources.linux
    assert (shown.memory_limit_in_bytes, shown.cpu_shares, shown.cpuset_cpus) == (80 << 20, 77, "0")
    if HIERARCHIES.mode != "v2":
        directory = HIERARCHIES.directory("memory", moved)
        assert Path(directory, "memory.soft_limit_in_bytes").read_text() == f"{40 << 20}\n"
    assert HIERARCHIES.exists(moved)
    pods.cri.remove_container(container)
    assert not HIERARCHIES.exists(moved)
    HIERARCHIES.remove(os.path.dirname(moved))


def test_adjusted_hooks_cdi_devices_and_seccomp(pods: Pods, socket: str, sandbox: str, machine: Node) -> None:
    trace = machine.directory / "hook"
    hook = v1.Hook(path="/bin/sh", args=["sh", "-c", f"cat > {trace}"], timeout=v1.OptionalInt(value=5))
    kind = {
        "cdiVersion": "0.6.0",
        "kind": "test.local/nri",
        "devices": [{"name": "one", "containerEdits": {"env": ["FROM_CDI=1"]}}],
    }
    specification = Path(f"/proc/{machine.holder}/root/run/cdi/nri.json")
    specification.parent.mkdir(exist_ok=True)
    specification.write_text(json.dumps(kind))
    denies = v1.LinuxSyscall(names=["mkdir", "mkdirat"], action="SCMP_ACT_ERRNO", errno_ret=v1.OptionalUInt32(value=28))
    adjust = adjusting(
        hooks=v1.Hooks(create_runtime=[hook]),
        CDI_devices=[v1.CDIDevice(name="test.local/nri=one")],
        linux=v1.LinuxContainerAdjustment(
            seccomp_policy=v1.LinuxSeccomp(default_action="SCMP_ACT_ALLOW", syscalls=[denies])
        ),
    )
    with nri.plugin(socket, CreateContainer=adjust) as plugin:
        container = pods.start(sandbox)
        (after,) = plugin.requests("PostCreateContainer")
    specification.unlink()
    assert json.loads(trace.read_text())["id"] == container
    trace.unlink()
    assert (
        pods.exec(container, "echo $FROM_CDI; mkdir /x 2>&1 || true")
        == "1\nmkdir: can't create directory '/x': No space left on device\n"
    )
    assert after.container.hooks.create_runtime == [hook]
    assert after.container.linux.seccomp_policy.syscalls == [denies]


@pytest.mark.parametrize(
    ("linux", "words"),
    [
        ({"scheduler": v1.LinuxScheduler(policy=v1.SCHED_BATCH)}, "linux.scheduler: is not supported"),
        ({"resources": v1.LinuxResources(blockio_class=v1.OptionalString(value="slow"))}, "blockio_class"),
        ({"resources": v1.LinuxResources(memory=v1.LinuxMemory(limit=v1.OptionalInt64(value=3)))}, "memory_limit"),
        ({"cgroups_path": "/a/../../b"}, "is no cgroup"),
        (
            {
                "devices": [v1.LinuxDevice(path="/dev/x", type="c", major=1, minor=3)],
                "rdt": v1.LinuxRdt(schemata={"value": ["L3:0=f"]}),
            },
            "rdt.schemata",
        ),
    ],
)
def test_wishes_that_cannot_be_granted(pods: Pods, socket: str, linux: dict[str, Any], words: str) -> None:
    sandbox = pods.run_sandbox()
    with (
        nri.plugin(socket, name="dreamer", CreateContainer=on_linux(**linux)) as plugin,
        pytest.raises(Exception, match=f"(?s)10-dreamer.*{words}"),
    ):
        pods.create(sandbox)
    assert plugin.names()[-2:] == ["StopContainer", "RemoveContainer"], "it is told that nothing came of it"
    assert not pods.cri.list_containers().containers


def test_plugins_are_asked_in_order_and_see_what_others_did(pods: Pods, socket: str) -> None:
    seen: list[str] = []

    def note(index: str) -> Callable[[Any], v1.CreateContainerResponse]:
        def adjust(request: Any) -> v1.CreateContainerResponse:
            seen.append(f"{index}: {' '.join(sorted(e for e in request.container.env if e.startswith('P')))}")
            variable = v1.KeyValue(key=f"PLUGIN_{index}", value="x")
            return v1.CreateContainerResponse(adjust=v1.ContainerAdjustment(env=[variable]))

        return adjust

    with nri.plugin(socket, "20", CreateContainer=note("20")), nri.plugin(socket, "05", CreateContainer=note("05")):
        pods.create(pods.run_sandbox())
    assert seen == ["05: PATH=/bin", "20: PATH=/bin PLUGIN_05=x"]


def test_plugins_that_disagree(pods: Pods, socket: str) -> None:
    sandbox = pods.run_sandbox()
    first = adjusting(env=[v1.KeyValue(key="WHO", value="first")])
    second = adjusting(env=[v1.KeyValue(key="WHO", value="second")])
    stronger = adjusting(env=[v1.KeyValue(key="-WHO"), v1.KeyValue(key="WHO", value="second")])
    with nri.plugin(socket, "01", "a", CreateContainer=first), nri.plugin(socket, "02", "b") as other:
        other.replies["CreateContainer"] = second
        with pytest.raises(FailedPrecondition, match='"01-a" and "02-b" both set ENV "WHO"'):
            pods.create(sandbox)
        other.replies["CreateContainer"] = stronger
        container = pods.start(sandbox)
        assert pods.exec(container, "echo $WHO") == "second\n"


def test_a_validator_has_the_last_word(pods: Pods, socket: str) -> None:
    def validate(request: Any) -> v1.ValidateContainerAdjustmentResponse:
        owner = request.owners.owners[request.container.id].compound[v1.ENV].owners.get("BAD")
        return v1.ValidateContainerAdjustmentResponse(reject=owner == "01-a", reason=f"by {owner}")

    sandbox = pods.run_sandbox()
    events = nri.mask(v1.VALIDATE_CONTAINER_ADJUSTMENT)
    with (
        nri.plugin(socket, "01", "a", CreateContainer=adjusting(env=[v1.KeyValue(key="BAD", value="1")])) as plugin,
        nri.plugin(socket, "00", "judge", events, ValidateContainerAdjustment=validate),
    ):
        with pytest.raises(FailedPrecondition, match=r'"00-judge" rejects .*by 01-a'):
            pods.create(sandbox)
        plugin.replies["CreateContainer"] = adjusting(env=[v1.KeyValue(key="GOOD", value="1")])
        pods.create(sandbox)


def live(pods: Pods) -> None:
    """A container is made, started and updated."""
    container = pods.start(pods.run_sandbox())
    pods.cri.update_container_resources(container, linux=cri.LinuxContainerResources(cpu_shares=99))


@pytest.mark.parametrize("event", ["RunPodSandbox", "CreateContainer", "StartContainer", "UpdateContainer"])
def test_a_refusal_before_the_fact_is_the_operations_failure(pods: Pods, socket: str, event: str) -> None:
    with nri.plugin(socket, name="no", replies={event: refusing}) as plugin:
        with pytest.raises(FailedPrecondition, match=f'"10-no" refuses {event} of test/pod-.*not on my node'):
            live(pods)
        listed = pods.cri.list_pod_sandbox().items
        assert bool(listed) == (event != "RunPodSandbox")
        if event in ("RunPodSandbox", "CreateContainer"):
            kind = "PodSandbox" if event == "RunPodSandbox" else "Container"
            assert plugin.names()[-2:] == [f"Stop{kind}", f"Remove{kind}"]
        if event == "StartContainer":
            (listed_container,) = pods.cri.list_containers().containers
            assert pods.exited(listed_container.id).reason == "StartError"


def test_a_refusal_after_the_fact_changes_nothing(pods: Pods, socket: str) -> None:
    late = (
        "PostCreateContainer",
        "PostStartContainer",
        "StopContainer",
        "RemoveContainer",
        "StopPodSandbox",
        "RemovePodSandbox",
    )
    with nri.plugin(socket, replies=dict.fromkeys(late, refusing)) as plugin:
        sandbox = pods.run_sandbox()
        pods.start(sandbox)
        pods.cri.remove_pod_sandbox(sandbox)
        assert {*late} <= {*plugin.names()}


# limits of others


def test_an_update_is_what_plugins_make_of_it(pods: Pods, socket: str) -> None:
    sandbox = pods.run_sandbox()
    one, other = pods.start(sandbox), pods.start(sandbox)

    def change(request: Any) -> v1.UpdateContainerResponse:
        doubled = 2 * request.linux_resources.memory.limit.value
        return v1.UpdateContainerResponse(update=[memory(one, doubled), memory(other, 96 << 20), memory("0" * 64, 1)])

    with nri.plugin(socket, UpdateContainer=change) as plugin:
        wanted = cri.LinuxContainerResources(memory_limit_in_bytes=50 << 20, cpu_shares=123)
        pods.cri.update_container_resources(one, linux=wanted)
        (asked,) = plugin.requests("UpdateContainer")
    assert asked.linux_resources.cpu.shares.value == 123
    shown = pods.status(one).resources.linux
    assert (shown.memory_limit_in_bytes, shown.cpu_shares) == (100 << 20, 123)
    assert memory_of(pods, other) == 96 << 20


def test_the_end_of_one_container_may_change_others(pods: Pods, socket: str) -> None:
    sandbox = pods.run_sandbox()
    ends, stays = pods.start(sandbox), pods.start(sandbox)
    freed = v1.StopContainerResponse(update=[memory(stays, 72 << 20), memory(ends, 72 << 20)])
    with nri.plugin(socket, StopContainer=lambda _request: freed):
        pods.cri.stop_container(ends, timeout=0)
        assert memory_of(pods, stays) == 72 << 20


def test_a_plugin_may_ask_by_itself(pods: Pods, socket: str) -> None:
    sandbox = pods.run_sandbox()
    container, evicted = pods.start(sandbox), pods.start(sandbox)
    with nri.plugin(socket) as plugin:
        wishes = [memory(container, 90 << 20), memory("0" * 64, 90 << 20), memory("1" * 64, 1, ignore_failure=True)]
        eviction = v1.ContainerEviction(container_id=evicted, reason="too loud")
        answer = plugin.call("UpdateContainers", v1.UpdateContainersRequest(update=wishes, evict=[eviction]))
        assert [failed.container_id for failed in answer.failed] == ["0" * 64]
        assert memory_of(pods, container) == 90 << 20
        assert pods.exited(evicted).exit_code == 137
        assert "UpdateContainer" not in plugin.names(), "its own wish is no news to it"


# plugins that fail


def test_a_plugin_that_does_not_answer_is_dropped(pods: Pods, socket: str) -> None:
    awake = threading.Event()

    def sleep(_request: Any) -> None:
        awake.wait(30)

    with (
        nri.plugin(socket, "01", RunPodSandbox=sleep) as plugin,
        nri.plugin(socket, "02") as other,
    ):
        first = pods.run_sandbox()
        assert plugin.left.wait(10)
        second = pods.run_sandbox()
        awake.set()
        assert other.names(first) == other.names(second) == ["RunPodSandbox"]
        assert not plugin.names(second)


def test_a_plugin_that_leaves_in_the_middle(pods: Pods, socket: str) -> None:
    with nri.plugin(socket) as plugin:

        def leave(_request: Any) -> None:
            plugin.drop()

        plugin.replies["CreateContainer"] = leave
        container = pods.start(pods.run_sandbox())
        assert pods.status(container).state == cri.CONTAINER_RUNNING
        assert "StartContainer" not in plugin.names()


@pytest.mark.parametrize(("index", "name"), [("1", "short"), ("xx", "letters"), ("10", ""), ("10", "a/b")])
def test_a_plugin_with_no_proper_name(pods: Pods, socket: str, index: str, name: str) -> None:
    assert not pods.cri.list_pod_sandbox().items
    plugin = nri.Plugin(socket, index, name)
    try:
        with pytest.raises(Refused, match="plugin_"):
            plugin.start()
    finally:
        plugin.close()


def test_a_peer_that_speaks_something_else(pods: Pods, socket: str) -> None:
    with sockets.socket(sockets.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(socket)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(1) == b""
    pods.run_sandbox()
