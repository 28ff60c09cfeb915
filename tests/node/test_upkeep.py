"""What a node does beside running pods: garbage collection, log rotation, images, eviction; on a stub runtime."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from podwright.client import AsyncClient
from podwright.cri import v1
from podwright.errors import FailedPrecondition
from podwright.node import local_storage, main, node_pods
from podwright.node.agent import Agent
from podwright.node.api import metrics
from podwright.node.configuration import Configuration
from podwright.node.container_gc import ContainerGc
from podwright.node.context import Node
from podwright.node.errors import Waiting
from podwright.node.events import About, Event
from podwright.node.flags import Flags
from podwright.node.image_gc import ImageGc
from podwright.node.log_rotation import LogRotation
from podwright.node.observed import SeenPod
from podwright.node.pressure import Pressures, signals
from podwright.testing.cri_runtime import StubRuntime
from podwright.testing.cri_server import StubServer
from support.member import api_pod, condition

NAMES = ["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"]


def on_a_loop(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    """Makes an ordinary test of a coroutine."""

    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    return run


@asynccontextmanager
async def a_node(
    directory: Path, kind: type[StubRuntime] = StubRuntime, **settings: Any
) -> AsyncIterator[tuple[Node, Agent, StubRuntime]]:
    """A node without its loops."""
    runtime = kind(image_mount=str(directory))
    runtime.add_image("busybox:1")
    configuration = Configuration(
        cgroups_per_qos=False, pod_logs_dir=str(directory / "logs"), static_pod_path=str(directory), **settings
    )
    with StubServer(str(directory / "cri.sock"), runtime) as server:
        async with AsyncClient(server.endpoint) as cri:
            version = await cri.version()
            flags = Flags(hostname="n1", root_dir=str(directory / "root"), node_ips=("127.0.0.1",))
            node, _ = main._put_together(flags, configuration, cri, version, "cgroupfs")
            async with asyncio.TaskGroup() as group:
                agent = Agent(node, ["file"], group)
                node.observed.changed = agent.seen
                yield node, agent, runtime
                for task in list(group._tasks):
                    task.cancel()
    runtime.close()


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.01)


def _another_runs(node: Node, uid: str, old: str) -> bool:
    return any(container.id != old for container in node.observed.pod(uid).running)


def a_pod(name: str, **spec: Any) -> node_pods.NodePod:
    return node_pods.from_manifest(yaml.safe_load(yaml.safe_dump(api_pod(name, **spec))), f"/{name}", "n1")


@on_a_loop
async def test_what_the_runtime_measures_is_shown(tmp_path: Path) -> None:
    value = v1.UInt64Value(value=7)
    of_pod = v1.Metric(name=NAMES[0], metric_type=v1.COUNTER, label_values=["", "web"], value=value)
    of_one = v1.Metric(name=NAMES[1], metric_type=v1.GAUGE, label_values=["main", "web"], value=value)
    container = v1.ContainerMetrics(container_id="c", metrics=[of_one])
    sandbox = v1.PodSandboxMetrics(pod_sandbox_id="s", metrics=[of_pod], container_metrics=[container])
    described = [
        v1.MetricDescriptor(name=name, help="What it says.", label_keys=["container", "pod"]) for name in NAMES
    ]

    class Measuring(StubRuntime):
        def ListMetricDescriptors(self, _: object) -> v1.ListMetricDescriptorsResponse:  # noqa: N802
            return v1.ListMetricDescriptorsResponse(descriptors=described)

        def ListPodSandboxMetrics(self, _: object) -> v1.ListPodSandboxMetricsResponse:  # noqa: N802
            return v1.ListPodSandboxMetricsResponse(pod_metrics=[sandbox])

    async with a_node(tmp_path, Measuring) as (node, _, _):
        text = (await metrics.of_containers(node)).decode()
    samples = [item for family in text_string_to_metric_families(text) for item in family.samples]
    assert [(item.name, item.labels, item.value) for item in samples] == [
        (NAMES[0], {"container": "", "pod": "web"}, 7),
        (NAMES[1], {"container": "main", "pod": "web"}, 7),
    ]
    assert f"# TYPE {NAMES[0]} counter" in text and f"# TYPE {NAMES[1]} gauge" in text


@on_a_loop
async def test_old_containers_and_dead_sandboxes_go(tmp_path: Path) -> None:
    async with a_node(tmp_path) as (node, agent, runtime):
        pod = a_pod("web")
        agent.heard("file", [pod])
        await until(lambda: agent.workers[pod.uid].last_status.get("phase") == "Running")
        for _ in range(2):
            running = node.observed.pod(pod.uid).running[0].id
            agent.workers[pod.uid]._back_off.clear()
            runtime.exit(running, 1)
            await node.observed.refresh(pod.uid)
            await until(partial(_another_runs, node, pod.uid, running))
        first = node.observed.pod(pod.uid).sandboxes[0].id
        runtime.StopPodSandbox(v1.StopPodSandboxRequest(pod_sandbox_id=first))
        agent.workers[pod.uid]._back_off.clear()
        await node.observed.refresh(pod.uid)
        await until(lambda: len(runtime.sandboxes) == 2 and node.observed.pod(pod.uid).running)
        assert len(runtime.containers) == 4
        (tmp_path / "root/pods/unknown/volumes").mkdir(parents=True)
        (tmp_path / "logs/default_old_unknown").mkdir()
        await ContainerGc(node, agent).collect()
        states = sorted(item.status.state for item in runtime.containers.values())
        assert states == [v1.CONTAINER_RUNNING, v1.CONTAINER_EXITED], "the newest ended one stays, for its log"
        assert len(runtime.sandboxes) == 2, "the old sandbox still holds the one that stays"
        assert not (tmp_path / "root/pods/unknown").exists() and not (tmp_path / "logs/default_old_unknown").exists()


@on_a_loop
async def test_pods_of_others_are_left_alone(tmp_path: Path) -> None:
    async with a_node(tmp_path) as (node, agent, runtime):
        config = v1.PodSandboxConfig(metadata=v1.PodSandboxMetadata(name="mine", namespace="default", uid="1"))
        config.labels["io.kubernetes.pod.uid"] = "1"
        runtime.RunPodSandbox(v1.RunPodSandboxRequest(config=config))
        config.metadata.name, config.metadata.uid, config.labels["io.kubernetes.pod.uid"] = "kubelets", "2", "2"
        config.annotations["kubernetes.io/config.source"] = "file"
        runtime.RunPodSandbox(v1.RunPodSandboxRequest(config=config))
        await node.observed.look()
        agent.heard("file", [])
        await until(lambda: len(runtime.sandboxes) == 1)
        assert next(iter(runtime.sandboxes.values())).config.metadata.name == "mine"


@on_a_loop
async def test_images_go_when_the_disk_is_full(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "image_gc_high_threshold_percent": 1,
        "image_gc_low_threshold_percent": 0,
        "image_minimum_gc_age": "0s",
    }
    async with a_node(tmp_path, **settings) as (node, agent, runtime):
        pod = a_pod("web")
        agent.heard("file", [pod])
        await until(lambda: agent.workers[pod.uid].last_status.get("phase") == "Running")
        runtime.add_image("unused:1")
        runtime.add_image("pinned:1").pinned = True
        await ImageGc(node).collect()
        assert sorted(image.repo_tags[0] for image in runtime.images.values()) == ["busybox:1", "pinned:1"]


@on_a_loop
async def test_young_images_stay(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"image_gc_high_threshold_percent": 1, "image_gc_low_threshold_percent": 0}
    async with a_node(tmp_path, **settings) as (node, _, runtime):
        await ImageGc(node).collect()
        assert len(runtime.images) == 1


@on_a_loop
async def test_images_that_nobody_wants_go_by_age(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"image_maximum_gc_age": "1h", "image_gc_high_threshold_percent": 100}
    async with a_node(tmp_path, **settings) as (node, _, runtime):
        collector = ImageGc(node)
        await collector.collect()
        assert len(runtime.images) == 1
        collector._first_seen = {key: at - 7200 for key, at in collector._first_seen.items()}
        await collector.collect()
        assert not runtime.images


@on_a_loop
async def test_rotation_keeps_some_files_and_packs_them(tmp_path: Path) -> None:
    async with a_node(tmp_path) as (node, agent, runtime):
        pod = a_pod("web")
        agent.heard("file", [pod])
        await until(lambda: agent.workers[pod.uid].last_status.get("phase") == "Running")
        (found,) = node.observed.pod(pod.uid).running
        log = Path(found.status.log_path)
        rotation = LogRotation(node.cri, node.observed, largest=10, files=3, period=1)
        for text, stamp in (("one", "20200101-000000"), ("two", "20200102-000000"), ("three", "20200103-000000")):
            (log.parent / f"0.log.{stamp}").write_text(text)
        runtime.write(found.id, "before")
        await rotation.rotate(found.id, str(log))
        runtime.write(found.id, "after")
        names = sorted(item.name for item in log.parent.iterdir())
        assert len(names) == 3 and names[0] == "0.log" and names[1] == "0.log.20200103-000000.gz"
        assert gzip.decompress((log.parent / names[1]).read_bytes()) == b"three"
        assert "after" in log.read_text() and "before" in (log.parent / names[2]).read_text()


@on_a_loop
async def test_a_log_that_cannot_be_reopened_is_put_back(tmp_path: Path) -> None:
    async with a_node(tmp_path) as (node, agent, runtime):
        pod = a_pod("web")
        agent.heard("file", [pod])
        await until(lambda: agent.workers[pod.uid].last_status.get("phase") == "Running")
        (found,) = node.observed.pod(pod.uid).running
        runtime.exit(found.id, 0)
        log = Path(found.status.log_path)
        rotation = LogRotation(node.cri, node.observed, largest=10, files=3, period=1)
        with pytest.raises(Exception, match="not running"):
            await rotation.rotate(found.id, str(log))
        assert log.exists()


@on_a_loop
async def test_pulls_back_off_and_try_credentials(tmp_path: Path) -> None:
    async with a_node(tmp_path) as (node, _, _runtime):
        events: list[Event] = []
        node.recorder.listeners.append(events.append)
        about, config = About("Pod", "web", "default", "1"), v1.PodSandboxConfig()
        with pytest.raises(Waiting) as caught:
            await node.images.ensure("registry/missing:1", "", about, [], config)
        assert caught.value.reason == "ErrImagePull"
        with pytest.raises(Waiting) as caught:
            await node.images.ensure("registry/missing:1", "", about, [], config)
        assert caught.value.reason == "ImagePullBackOff"
        image = await node.images.ensure("registry/there:1", "", about, [v1.AuthConfig(username="me")], config)
        assert image.repo_tags == ["registry/there:1"]
        assert [event.reason for event in events][-2:] == ["Pulling", "Pulled"]
        await node.images.ensure("registry/there:1", "IfNotPresent", about, [], config)
        assert "already present" in events[-1].message


@on_a_loop
async def test_the_biggest_of_the_least_important_is_evicted(tmp_path: Path) -> None:
    async with a_node(tmp_path) as (node, agent, _runtime):
        pods = [a_pod("modest", priority=5), a_pod("greedy"), a_pod("vital", priority=2_000_000_000)]
        agent.heard("file", pods)
        await until(lambda: all(w.last_status.get("phase") == "Running" for w in agent.workers.values()))
        node.configuration.eviction_hard = {"memory.available": "100%"}
        pressures = Pressures(node, agent, ImageGc(node))
        await pressures.look()
        assert pressures.is_under("MemoryPressure") and not pressures.is_under("DiskPressure")
        (gone,) = [worker for worker in agent.workers.values() if worker.failed]
        assert gone.pod.name == "greedy-n1"
        await until(lambda: gone.last_status.get("phase") == "Failed" and not node.observed.pod(gone.pod.uid).running)
        assert gone.last_status["reason"] == "Evicted"
        assert condition(gone.last_status, "DisruptionTarget")["reason"] == "TerminationByKubelet"
        await pressures.look()
        await pressures.look()
        assert {worker.pod.name for worker in agent.workers.values() if not worker.failed} == {"vital-n1"}


@on_a_loop
async def test_a_pod_that_is_being_removed_is_not_pending(tmp_path: Path) -> None:
    """Its containers may be gone when the rest has to be tried again."""
    async with a_node(tmp_path) as (_node, agent, _runtime):
        pod = a_pod("web")
        agent.heard("file", [pod])
        await until(lambda: agent.workers[pod.uid].last_status.get("phase") == "Running")
        worker = agent.workers[pod.uid]
        worker.ending = True
        assert worker._publish(SeenPod(pod.uid))["phase"] == "Running"


LIMITED = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
SCRATCH = {"name": "scratch", "emptyDir": {"sizeLimit": "2Mi"}}


@pytest.mark.parametrize(
    ("spec", "containers", "volumes", "message"),
    [
        ({}, {"main": 9 << 20}, {}, ""),
        (LIMITED, {"main": 1 << 20}, {}, ""),
        (
            LIMITED,
            {"main": (1 << 20) + 1},
            {},
            "Pod ephemeral local storage usage exceeds the total limit of containers",
        ),
        (LIMITED, {"main": 1}, {"other": 1 << 20}, "Pod ephemeral local storage usage exceeds the total limit"),
        ({"volumes": [SCRATCH]}, {"main": 9 << 20}, {"scratch": 2 << 20}, ""),
        (
            {"volumes": [SCRATCH]},
            {},
            {"scratch": 3 << 20},
            'Usage of EmptyDir volume "scratch" exceeds the limit "2Mi"',
        ),
    ],
)
def test_limits_of_local_storage(
    spec: dict[str, Any], containers: dict[str, int], volumes: dict[str, int], message: str
) -> None:
    container = {"name": "main", "image": "busybox:1", **{key: spec[key] for key in spec.keys() & {"resources"}}}
    pod = a_pod("web", containers=[container], volumes=spec.get("volumes", []))
    found = local_storage.excess(pod.pod, local_storage.Usage(containers, volumes))
    assert found.startswith(message) and bool(found) == bool(message)


def test_one_container_may_be_above_its_own_limit() -> None:
    limits = {"one": "1Mi", "two": "5Mi"}
    containers = [
        {"name": name, "image": "busybox:1", "resources": {"limits": {"ephemeral-storage": limit}}}
        for name, limit in limits.items()
    ]
    usage = local_storage.Usage({"one": 2 << 20, "two": 1})
    found = local_storage.excess(a_pod("web", containers=containers).pod, usage)
    assert found == 'Container one exceeded its local ephemeral storage limit "1Mi". '


@on_a_loop
async def test_who_writes_too_much_to_disk_is_evicted(tmp_path: Path) -> None:
    async with a_node(tmp_path) as (node, agent, _runtime):
        volumes, mounts = [SCRATCH], [{"name": "scratch", "mountPath": "/scratch"}]
        container = {"name": "main", "image": "busybox:1", "command": ["run"], "volumeMounts": mounts}
        greedy, modest = (a_pod(name, containers=[container], volumes=volumes) for name in ("greedy", "modest"))
        agent.heard("file", [greedy, modest])
        await until(lambda: all(w.last_status.get("phase") == "Running" for w in agent.workers.values()))
        node.configuration.eviction_hard = {}
        pressures = Pressures(node, agent, ImageGc(node))
        scratch = tmp_path / "root/pods" / greedy.uid / "volumes/kubernetes.io~empty-dir/scratch"
        (scratch / "file").write_bytes(b"x" * (3 << 20))
        await pressures.look()
        await until(lambda: agent.workers[greedy.uid].last_status.get("reason") == "Evicted")
        assert "exceeds the limit" in agent.workers[greedy.uid].last_status["message"]
        assert agent.workers[modest.uid].last_status["phase"] == "Running"


def test_signals_are_the_machines(tmp_path: Path) -> None:
    found = signals(str(tmp_path), str(tmp_path))
    assert {"memory.available", "nodefs.available", "imagefs.inodesFree", "pid.available"} <= found.keys()
    for available, whole in found.values():
        assert 0 <= available <= whole


@on_a_loop
async def test_pods_may_use_less_than_there_is(tmp_path: Path) -> None:
    async with a_node(tmp_path, system_reserved={"cpu": "100m"}) as (node, _agent, _runtime):
        assert node.capacity["cpu"] - node.allocatable["cpu"] == Decimal("0.1")
        assert node.capacity["memory"] - node.allocatable["memory"] == 100 << 20, "what eviction keeps free"


class WithoutNetwork(StubRuntime):
    """Its sandboxes are there for a moment."""

    def RunPodSandbox(self, request: v1.RunPodSandboxRequest) -> v1.RunPodSandboxResponse:  # noqa: N802  as the RPC
        super().RunPodSandbox(request)
        raise FailedPrecondition("no network")


@on_a_loop
async def test_a_sandbox_that_cannot_be_made_is_not_tried_all_the_time(tmp_path: Path) -> None:
    async with a_node(tmp_path, WithoutNetwork) as (node, agent, runtime):
        reasons: list[str] = []
        node.recorder.listeners.append(lambda event: reasons.append(event.reason))
        pod = a_pod("web")
        agent.heard("file", [pod])
        await until(lambda: "FailedCreatePodSandBox" in reasons)
        for _ in range(10):
            await node.observed.refresh(pod.uid)
            agent.workers[pod.uid].wake()
            await asyncio.sleep(0.02)
        assert reasons.count("FailedCreatePodSandBox") == 1
        agent.heard("file", [])
        await until(lambda: pod.uid not in agent.workers)
        assert not runtime.sandboxes
