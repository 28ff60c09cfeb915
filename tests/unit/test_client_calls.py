"""The calls themselves: requests, answers, deadlines, failures, streams; both clients against a real gRPC server."""

import inspect
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_drivers import DRIVERS, Driver
from google.protobuf.message import Message

from podwright import errors
from podwright.client import AsyncClient, Client, ConnectionFailed
from podwright.client.session import _LIST_INSTEAD, kubelet_deadline
from podwright.cri import v1
from podwright.cri.methods import METHODS
from podwright.testing.cri_runtime import StubRuntime
from podwright.testing.cri_server import StubServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=DRIVERS, ids=lambda kind: kind.__name__)
def client(request: pytest.FixtureRequest, server: StubServer) -> Iterator[Driver]:
    with request.param(server.endpoint) as driver:
        yield driver


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StubServer]:
    with StubServer(str(tmp_path / "cri.sock")) as running:
        running.runtime.add_image("busybox:1")
        yield running
        running.runtime.close()


def make_container(client: Driver, name: str = "web") -> str:
    """A running container in a pod of its own."""
    pod = v1.PodSandboxConfig(metadata=v1.PodSandboxMetadata(name=name, namespace="default", uid="1"))
    sandbox = client.call("run_pod_sandbox", pod).pod_sandbox_id
    config = v1.ContainerConfig(metadata=v1.ContainerMetadata(name=name), image=v1.ImageSpec(image="busybox:1"))
    container: str = client.call("create_container", sandbox, config, sandbox_config=pod).container_id
    client.call("start_container", container)
    return container


# ---- requests and answers


def test_a_pod_lives(client: Driver) -> None:
    container = make_container(client)
    status = client.call("container_status", container, verbose=True)
    assert status.status.state == v1.CONTAINER_RUNNING
    assert status.info
    assert client.call("exec_sync", container, ["echo", "hello"], timeout=1).stdout == b"hello\n"
    (listed,) = client.call("list_containers", v1.ContainerFilter(id=container)).containers
    client.call("stop_container", container, timeout=1)
    assert client.call("container_status", container).status.exit_code == 143
    client.call("remove_pod_sandbox", listed.pod_sandbox_id)
    assert not client.call("list_pod_sandbox").items


def test_images_are_named_by_text_or_by_message(client: Driver) -> None:
    by_text = client.call("image_status", "busybox:1").image
    assert by_text == client.call("image_status", v1.ImageSpec(image="busybox:1")).image
    assert client.call("pull_image", "other:2", auth=v1.AuthConfig(username="me")).image_ref.startswith("sha256:")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_rpc_has_a_method_with_its_fields(kind: type[Client] | type[AsyncClient]) -> None:
    for method in METHODS.values():
        snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in method.name)[1:]
        call = getattr(kind, snake)
        assert call.__doc__
        parameters = list(inspect.signature(call).parameters)
        assert parameters == ["self", *(field.name for field in method.request.DESCRIPTOR.fields), "deadline"]


def test_generated_calls_are_current() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    tool = subprocess.run(
        [sys.executable, "tools/make_client.py", "--check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tool.returncode == 0, tool.stderr


def test_large_answers_and_requests_pass(client: Driver, server: StubServer) -> None:
    """An ExecSync answer may hold 16 MiB of each stream."""
    container = make_container(client)
    text = "x" * (16 << 20)
    assert len(client.call("exec_sync", container, ["echo", text]).stdout) == len(text) + 1
    assert len(server.received[-1].request.SerializeToString()) > 16 << 20


# ---- deadlines


@pytest.mark.parametrize(
    ("name", "request_", "seconds"),
    [
        ("ListContainers", v1.ListContainersRequest(), 120),
        ("RunPodSandbox", v1.RunPodSandboxRequest(), 240),
        ("StopContainer", v1.StopContainerRequest(timeout=30), 150),
        ("StopContainer", v1.StopContainerRequest(), 120),
        ("ExecSync", v1.ExecSyncRequest(timeout=5), 125),
        ("ExecSync", v1.ExecSyncRequest(), None),
        ("CheckpointContainer", v1.CheckpointContainerRequest(timeout=60), 180),
        ("PullImage", v1.PullImageRequest(), None),
        ("GetContainerEvents", v1.GetEventsRequest(), None),
        ("StreamContainers", v1.StreamContainersRequest(), 120),
    ],
)
def test_deadlines_are_the_kubelets(name: str, request_: Any, seconds: float | None) -> None:
    assert kubelet_deadline(name, request_, 120.0) == seconds


def test_deadlines_reach_the_runtime(client: Driver, server: StubServer) -> None:
    client.call("status")
    client.call("pull_image", "busybox:1")
    client.call("status", deadline=7)
    client.call("status", deadline=math.inf)
    seen = [received.deadline for received in server.received if not received.path.endswith(("Version", "FsInfo"))]
    assert seen[0] == pytest.approx(120, abs=2)
    assert seen[2] == pytest.approx(7, abs=2)
    for unlimited in (seen[1], seen[3]):
        assert unlimited is None or unlimited > 10**6  # gRPC's own infinity


def test_a_passed_deadline_is_an_error(client: Driver, server: StubServer) -> None:
    client.connect()
    server.hold("Status")
    with pytest.raises(errors.DeadlineExceeded):
        client.call("status", deadline=0.1)


# ---- failures


@pytest.mark.parametrize("code", list(errors.Code))
def test_failures_are_kinds_with_the_runtimes_message(client: Driver, server: StubServer, code: errors.Code) -> None:
    client.connect()
    server.fail("StopContainer", code, "the message")
    with pytest.raises(errors.PodwrightError) as caught:
        client.call("stop_container", "x")
    assert str(caught.value) == "the message"
    assert caught.value.__notes__ == [f'StopContainer at "{server.endpoint}" answered {code.name}']
    if code not in {errors.Code.CANCELLED, errors.Code.UNKNOWN}:
        assert type(caught.value).code is code


def test_a_failure_without_words_gets_some(client: Driver, server: StubServer) -> None:
    client.connect()
    server.fail("Status", errors.Code.INTERNAL, "")
    with pytest.raises(errors.Internal, match="the runtime said only: internal"):
        client.call("status")


def test_a_runtime_that_went_away_is_a_connection_problem(client: Driver, server: StubServer) -> None:
    client.connect()
    server.__exit__()
    with pytest.raises(errors.Unavailable):
        client.call("status")
    with pytest.raises(ConnectionFailed):
        client.call("status")


# ---- streams


def test_streams_are_iterated(client: Driver, server: StubServer) -> None:
    made = {make_container(client, name) for name in ("one", "two")}
    parts = list(client.stream("stream_containers"))
    assert len(parts) == 2  # the stub sends one a message
    assert {part.containers[0].id for part in parts} == made
    assert "/runtime.v1.RuntimeService/ListContainers" not in server.paths


@pytest.mark.parametrize(
    ("stream", "instead"),
    [
        ("StreamPodSandboxes", "ListPodSandbox"),
        ("StreamContainers", "ListContainers"),
        ("StreamContainerStats", "ListContainerStats"),
        ("StreamImages", "ListImages"),
    ],
)
def test_lists_stand_in_for_streams_that_are_not_served(
    client: Driver, server: StubServer, stream: str, instead: str
) -> None:
    server.without = frozenset({"StreamPodSandboxes", "StreamContainers", "StreamContainerStats", "StreamImages"})
    make_container(client)
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in stream)[1:]
    for _ in range(2):
        (part,) = client.stream(snake)
        assert isinstance(part, METHODS[stream].response)
        assert part.ByteSize() > 0
    names = [path.rpartition("/")[2] for path in server.paths]
    assert names.count(stream) == 1, "the refusal is remembered"
    assert names.count(instead) == 2


def test_filters_survive_the_fall_back(client: Driver, server: StubServer) -> None:
    server.without = frozenset({"StreamContainers"})
    make_container(client, "one")
    wanted = make_container(client, "two")
    (part,) = client.stream("stream_containers", v1.ContainerFilter(id=wanted))
    assert [container.id for container in part.containers] == [wanted]


def test_pairs_of_streams_and_lists_are_alike_on_the_wire() -> None:
    for method in METHODS.values():
        if not method.streams or method.name == "GetContainerEvents":
            continue
        instead = _LIST_INSTEAD[method.name]
        assert _shape(method.request) == _shape(instead.request)
        assert _shape(method.response) == _shape(instead.response)


def _shape(message: type[Message]) -> list[tuple[int, str, bool]]:
    fields = []
    for field in message.DESCRIPTOR.fields:
        assert field.message_type is not None
        fields.append((field.number, field.message_type.full_name, field.is_repeated))
    return fields


def test_events_come_as_they_happen(client: Driver, server: StubServer) -> None:
    events = client.stream("get_container_events")
    container = make_container(client)
    server.runtime.exit(container, 3)
    kinds = [next(events).container_event_type for _ in range(3)]
    assert kinds == [v1.CONTAINER_CREATED_EVENT, v1.CONTAINER_STARTED_EVENT, v1.CONTAINER_STOPPED_EVENT]


def test_events_have_no_stand_in(client: Driver, server: StubServer) -> None:
    server.without = frozenset({"GetContainerEvents"})
    with pytest.raises(errors.Unimplemented, match="does not serve GetContainerEvents"):
        next(client.stream("get_container_events"))


def test_a_stream_that_breaks_raises(client: Driver, server: StubServer) -> None:
    make_container(client)
    server.fail("StreamContainers", errors.Code.INTERNAL, "torn")
    with pytest.raises(errors.Internal, match="torn"):
        list(client.stream("stream_containers"))


# ---- old runtimes get only what they know


def test_an_old_runtime_is_not_asked_for_what_it_cannot_know(client: Driver, server: StubServer) -> None:
    server.runtime_versions = server.image_versions = ("v1alpha2",)
    with pytest.raises(errors.Unimplemented) as caught:
        client.call("runtime_config")
    said = "speaks CRI v1alpha2, which has no RuntimeConfig: it needs a newer runtime"
    assert str(caught.value) == f'RuntimeService at "{server.endpoint}" {said}'
    with pytest.raises(errors.Unimplemented, match="has no GetContainerEvents"):
        next(client.stream("get_container_events"))
    make_container(client)
    (part,) = client.stream("stream_containers")
    assert part.containers
    new = {method.name for method in METHODS.values() if method.versions == ("v1",)}
    assert not {path.rpartition("/")[2] for path in server.paths} & new


def test_the_stub_outlives_its_server(tmp_path: Path) -> None:
    runtime = StubRuntime()
    path = str(tmp_path / "cri.sock")
    for expected in (0, 1):
        with StubServer(path, runtime) as server, Client(server.endpoint) as client:
            assert len(client.list_images().images) == expected
            runtime.add_image("busybox:1")
