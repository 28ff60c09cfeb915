"""Which CRI version a client and a runtime agree on, and what becomes of it (issue 6, section 3, for the client)."""

import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_drivers import DRIVERS, Awaited, Blocking, Driver

from podwright.client import ConnectionFailed, NoCommonVersion, RestartNeeded
from podwright.cri.methods import ApiVersion
from podwright.errors import Code, NotFound, PodwrightError, Unimplemented
from podwright.testing.cri_runtime import StubRuntime
from podwright.testing.cri_server import StubServer

NEW: tuple[ApiVersion, ...] = ("v1",)
OLD: tuple[ApiVersion, ...] = ("v1alpha2",)
BOTH: tuple[ApiVersion, ...] = ("v1", "v1alpha2")
NONE: tuple[ApiVersion, ...] = ()


@pytest.fixture(params=DRIVERS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> type[Driver]:
    driver: type[Driver] = request.param
    return driver


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "cri.sock")


@pytest.fixture
def client(kind: type[Driver], path: str) -> Iterator[Driver]:
    with kind(f"unix://{path}", timeout=5) as driver:
        yield driver


@pytest.mark.parametrize(
    ("runtime", "image", "agreed"),
    [
        (NEW, NEW, {"RuntimeService": "v1", "ImageService": "v1"}),
        (OLD, OLD, {"RuntimeService": "v1alpha2", "ImageService": "v1alpha2"}),
        (BOTH, BOTH, {"RuntimeService": "v1", "ImageService": "v1"}),
        (NEW, OLD, {"RuntimeService": "v1", "ImageService": "v1alpha2"}),
        (OLD, BOTH, {"RuntimeService": "v1alpha2", "ImageService": "v1"}),
    ],
)
def test_newest_common_version_is_taken_for_each_service(
    client: Driver, path: str, runtime: tuple[ApiVersion, ...], image: tuple[ApiVersion, ...], agreed: dict[str, str]
) -> None:
    with StubServer(path, runtime_versions=runtime, image_versions=image) as server:
        client.connect()
        assert client.api_versions == agreed
        assert client.call("version").runtime_api_version == agreed["RuntimeService"]
        assert client.call("image_fs_info").image_filesystems
        assert server.paths[-2:] == [
            f"/runtime.{agreed['RuntimeService']}.RuntimeService/Version",
            f"/runtime.{agreed['ImageService']}.ImageService/ImageFsInfo",
        ]


def test_negotiation_waits_for_the_first_call_and_happens_once(
    client: Driver, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "podwright.client")
    with StubServer(path) as server:
        assert client.api_versions == {}
        assert server.received == []
        client.call("status")
        client.call("status")
        assert client.api_versions == {"RuntimeService": "v1"}
        assert [text.rpartition("/")[2] for text in server.paths] == ["Version", "Status", "Status"]
    assert [record.getMessage() for record in caplog.records] == [f'RuntimeService at "unix://{path}" speaks CRI v1']


@pytest.mark.parametrize(("runtime", "image"), [(NONE, BOTH), (BOTH, NONE), (NONE, NONE)])
def test_neither_version_is_a_typed_error(
    client: Driver, path: str, runtime: tuple[ApiVersion, ...], image: tuple[ApiVersion, ...]
) -> None:
    service = "ImageService" if runtime else "RuntimeService"
    with (
        StubServer(path, runtime_versions=runtime, image_versions=image),
        pytest.raises(NoCommonVersion) as caught,
    ):
        client.connect(wait=60)  # which is not for this kind of failure: it would exceed the test's time-out
    assert str(caught.value) == f'{service} at "unix://{path}" serves neither CRI v1 nor CRI v1alpha2'


def test_no_runtime_is_a_connection_problem(client: Driver, path: str) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        client.connect()
    assert str(caught.value) == f'no connection to RuntimeService at "unix://{path}": no such file or directory'
    with pytest.raises(ConnectionFailed):
        client.call("list_containers")
    assert client.api_versions == {}


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.UNIMPLEMENTED])
def test_no_other_failure_is_taken_for_an_old_version(client: Driver, path: str, code: Code) -> None:
    with StubServer(path) as server:
        server.fail("Version", code, "server is not initialized yet")
        with pytest.raises(ConnectionFailed) as caught:
            client.call("status")
        assert str(caught.value) == (
            f'RuntimeService at "unix://{path}" failed when asked for CRI v1: server is not initialized yet '
            f"({caught.value.__cause__.code.name.lower()})"  # type: ignore[union-attr]
        )
        assert set(server.paths) == {"/runtime.v1.RuntimeService/Version"}
        server.heal("Version")
        client.call("status")
        assert client.api_versions == {"RuntimeService": "v1"}


def test_a_failing_old_version_is_a_connection_problem_too(client: Driver, path: str) -> None:
    with StubServer(path, runtime_versions=OLD) as server:
        server.fail("Version", Code.INTERNAL, "boom")
        with pytest.raises(ConnectionFailed, match="failed when asked for CRI v1alpha2: boom"):
            client.connect()


def test_a_runtime_that_does_not_answer_in_time_is_a_connection_problem(kind: type[Driver], path: str) -> None:
    with StubServer(path) as server, kind(server.endpoint, timeout=0.2) as client:
        server.hold("Version")
        with pytest.raises(ConnectionFailed, match=r"\(deadline_exceeded\)"):
            client.connect()


def test_services_at_two_endpoints(kind: type[Driver], tmp_path: Path) -> None:
    with (
        StubServer(str(tmp_path / "runtime"), image_versions=NONE) as runtime,
        StubServer(str(tmp_path / "image"), runtime_versions=NONE, image_versions=OLD) as image,
        kind(runtime.endpoint, image_endpoint=image.endpoint) as client,
    ):
        client.connect()
        assert client.api_versions == {"RuntimeService": "v1", "ImageService": "v1alpha2"}


def test_the_endpoint_that_fails_is_named(kind: type[Driver], tmp_path: Path) -> None:
    with (
        StubServer(str(tmp_path / "runtime")) as runtime,
        kind(runtime.endpoint, image_endpoint=f"unix://{tmp_path}/image") as client,
    ):
        with pytest.raises(ConnectionFailed, match=f'ImageService at "unix://{tmp_path}/image"'):
            client.connect()
        client.call("status")


# ---- the runtime is replaced under a live client


@pytest.mark.parametrize(
    ("before", "after", "used", "works"),
    [
        (NEW, NEW, "v1", True),
        (OLD, BOTH, "v1alpha2", True),  # upgraded, and the old version is still served
        (OLD, NEW, "v1alpha2", False),  # upgraded beyond what was chosen
        (BOTH, OLD, "v1", False),  # downgraded
        (BOTH, NEW, "v1", True),
        (NEW, NONE, "v1", False),
    ],
)
def test_the_version_first_chosen_stays(
    kind: type[Driver],
    path: str,
    before: tuple[ApiVersion, ...],
    after: tuple[ApiVersion, ...],
    used: str,
    works: bool,
) -> None:
    runtime = StubRuntime()
    with kind(f"unix://{path}", timeout=5) as client:
        with StubServer(path, runtime, before, before):
            client.connect()
        with pytest.raises(PodwrightError):
            client.call("status")
        with StubServer(path, runtime, after, after) as server:
            _until_connected(client, server)
            if works:
                client.call("list_containers")
                client.call("list_images")
            else:
                for name in ("list_containers", "list_images", "version", "image_fs_info"):
                    with pytest.raises(RestartNeeded) as caught:
                        client.call(name)
                    assert f"no longer serves CRI {used}" in str(caught.value)
                    assert "restart this program" in str(caught.value)
                    assert path in str(caught.value)
            assert client.api_versions == {"RuntimeService": used, "ImageService": used}
            assert {text.split(".")[1] for text in server.paths} <= {used}
            if after:
                with kind(server.endpoint) as fresh:
                    fresh.connect()
                    assert fresh.api_versions == {"RuntimeService": after[0], "ImageService": after[0]}


def test_a_rollback_heals_the_client(client: Driver, path: str) -> None:
    with StubServer(path, runtime_versions=NEW):
        client.call("status")
    with StubServer(path, runtime_versions=OLD) as server:
        _until_connected(client, server)
        with pytest.raises(RestartNeeded):
            client.call("status")
    with StubServer(path, runtime_versions=NEW) as server:
        _until_connected(client, server)
        client.call("status")


def test_streams_tell_that_the_version_is_gone(client: Driver, path: str) -> None:
    with StubServer(path, runtime_versions=NEW):
        client.call("status")
    with StubServer(path, runtime_versions=OLD) as server:
        _until_connected(client, server)
        for name in ("get_container_events", "stream_containers"):
            with pytest.raises(RestartNeeded):
                next(client.stream(name))


def test_a_lost_connection_is_made_again(client: Driver, path: str) -> None:
    with StubServer(path):
        client.call("status")
    with pytest.raises(PodwrightError):
        client.call("status")
    with StubServer(path) as server:
        assert _until_connected(client, server) < 2
        client.call("status")
        assert "/runtime.v1.RuntimeService/Version" not in server.paths, "as with kubelets, it is not asked again"


def test_connect_waits_for_a_runtime_to_come(kind: type[Driver], path: str) -> None:
    with kind(f"unix://{path}", timeout=5) as client:
        with pytest.raises(ConnectionFailed):
            client.connect(wait=0.5)
        with StubServer(path):
            client.connect(wait=30)
    assert set(client.api_versions) == {"RuntimeService", "ImageService"}


def test_missing_rpc_is_not_taken_for_a_missing_version(client: Driver, path: str) -> None:
    with StubServer(path, runtime_versions=NEW, without=frozenset({"RuntimeConfig"})):
        with pytest.raises(Unimplemented) as caught:
            client.call("runtime_config")
        assert type(caught.value) is Unimplemented
        with pytest.raises(NotFound):
            client.call("container_status", "nosuch")


def _until_connected(client: Blocking | Awaited, server: StubServer) -> float:
    """Calls until the runtime is there again; returns the seconds it took. The back-off is what is waited for."""
    began = time.monotonic()
    while time.monotonic() - began < 20:
        try:
            client.call("status")
        except RestartNeeded:
            break
        except PodwrightError:
            time.sleep(0.02)
        else:
            break
    else:
        pytest.fail("not connected again within 20 seconds")
    assert server.paths
    return time.monotonic() - began


def test_dialling_slows_down_as_the_kubelets_does(client: Driver, path: str) -> None:
    """Seen with kubelet 1.36: 0.10 0.18 0.30 0.37 0.59 0.99 … seconds; 100 ms, growing by 1.6, 20 % jitter."""
    dialled: list[float] = []
    enough = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def hang_up() -> None:
            while not enough.is_set():
                listener.accept()[0].close()
                dialled.append(time.monotonic())
                if len(dialled) == 6:
                    enough.set()

        thread = threading.Thread(target=hang_up)
        thread.start()
        while not enough.wait(0.01):
            with pytest.raises(ConnectionFailed):
                client.call("status")
        thread.join()
    pauses = [later - earlier for earlier, later in itertools.pairwise(dialled)]
    for pause, expected in zip(pauses, (0.1, 0.16, 0.26, 0.41, 0.66), strict=True):
        assert 0.7 * expected < pause < 1.3 * expected + 0.2
