"""The negotiation matrix: what a node makes of each kind of runtime, at its start and when the runtime is replaced.

Real processes and real gRPC servers: version used, registered or not, and what the log says.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from podwright.client import AsyncClient
from podwright.cri.methods import ApiVersion
from podwright.errors import Code
from podwright.node import runtime_health
from podwright.testing.cri_runtime import StubRuntime
from podwright.testing.cri_server import StubServer
from support.member import NODE, Member, api_pod

Versions = tuple[ApiVersion, ...]
NEW: Versions = ("v1",)
OLD: Versions = ("v1alpha2",)
BOTH: Versions = ("v1", "v1alpha2")
NONE: Versions = ()


def ready(member: Member) -> str:
    status = (member.api.get("nodes", NODE, "") or {}).get("status") or {}
    return next((item["status"] for item in status.get("conditions", ()) if item["type"] == "Ready"), "")


def used(server: StubServer, service: str, since: int = 0) -> set[str]:
    """The versions in which a service was spoken to, but for asking whether it is there."""
    probes = ("/Version", "/ImageFsInfo")
    paths = [path for path in server.paths[since:] if f".{service}/" in path and not path.endswith(probes)]
    return {path.split(".")[1] for path in paths}


def runs_pods(member: Member, name: str) -> None:
    """A pod that is given to the node gets to run."""
    if not any(image.repo_tags == ["busybox:1"] for image in member.runtime.images.values()):
        member.runtime.add_image("busybox:1")
    member.api.create("pods", api_pod(name))
    member.until(lambda: member.pod_status(name).get("phase") == "Running", f"pod {name} does not run")


def refused(member: Member, *words: str) -> None:
    """The agent ends with 1, says why, and has not said a word to the API server."""
    assert member.process is not None
    assert member.process.wait(timeout=60) == 1
    member.process = None
    log = member.log.read_text()
    for word in words:
        assert word in log
    assert member.api.requests == []


@pytest.mark.parametrize(
    ("runtime", "image", "speaks"),
    [
        (NEW, NEW, ("v1", "v1")),
        (OLD, OLD, ("v1alpha2", "v1alpha2")),
        (BOTH, BOTH, ("v1", "v1")),
        (NEW, OLD, ("v1", "v1alpha2")),
        (OLD, NEW, ("v1alpha2", "v1")),
    ],
)
def test_start_with_a_common_version(
    member: Member, runtime: Versions, image: Versions, speaks: tuple[str, str]
) -> None:
    with member.api, StubServer(member.socket, member.runtime, runtime, image) as server:
        member.start()
        member.until(lambda: ready(member) == "True", "the node does not get ready")
        runs_pods(member, "web")
        assert used(server, "RuntimeService") == {speaks[0]}
        assert used(server, "ImageService") == {speaks[1]}
        assert f"speaks CRI {speaks[0]}" in member.log.read_text()
        member.end()
        member.runtime.close()


@pytest.mark.parametrize(
    ("runtime", "image", "words"),
    [
        (NONE, BOTH, ("RuntimeService", "serves neither CRI v1 nor CRI v1alpha2")),
        (BOTH, NONE, ("ImageService", "serves neither CRI v1 nor CRI v1alpha2")),
        (NONE, NONE, ("RuntimeService", "serves neither CRI v1 nor CRI v1alpha2")),
    ],
)
def test_start_without_a_common_version(
    member: Member, runtime: Versions, image: Versions, words: tuple[str, ...]
) -> None:
    with member.api, StubServer(member.socket, member.runtime, runtime, image):
        member.start()
        refused(member, "validate service connection", *words)


def test_start_without_a_runtime(member: Member) -> None:
    with member.api:
        member.start()
        refused(member, "validate service connection", "no connection to RuntimeService", "no such file or directory")


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL, Code.PERMISSION_DENIED, Code.UNKNOWN])
def test_start_with_a_failing_runtime(member: Member, code: Code) -> None:
    """No failure but UNIMPLEMENTED may lead to the old version, although it is served here."""
    with member.api, StubServer(member.socket, member.runtime, BOTH, BOTH) as server:
        server.fail("Version", code, "server is not initialized yet")
        member.start()
        refused(member, "failed when asked for CRI v1", "server is not initialized yet")
        assert {path.split(".")[1] for path in server.paths} == {"v1"}


@pytest.mark.parametrize(
    ("before", "after", "speaks", "works"),
    [
        (BOTH, BOTH, "v1", True),  # restarted
        (NEW, BOTH, "v1", True),
        (OLD, BOTH, "v1alpha2", True),  # upgraded, the version first chosen is still there
        (OLD, NEW, "v1alpha2", False),  # upgraded beyond it
        (BOTH, OLD, "v1", False),  # downgraded
    ],
)
def test_the_runtime_is_replaced_under_a_live_node(
    member: Member, before: Versions, after: Versions, speaks: str, works: bool
) -> None:
    with member.api:
        with StubServer(member.socket, member.runtime, before, before) as server:
            member.start()
            member.until(lambda: ready(member) == "True")
            runs_pods(member, "before")
        with StubServer(member.socket, member.runtime, after, after) as server:
            if works:
                runs_pods(member, "after")
                assert used(server, "RuntimeService") == {speaks}
                assert not [path for path in server.paths if path.endswith("/Version")], "it must not negotiate again"
            else:
                text = f"no longer serves CRI {speaks}, which was chosen when this client first connected"
                member.until(lambda: text in member.log.read_text(), "the log does not say it")
                assert {path.split(".")[1] for path in server.paths} == {speaks}
                assert len(member.runtime.containers) == 1, "what runs must be left alone"
            assert member.process is not None
            assert member.process.poll() is None, "a node does not end because its runtime was replaced"
            member.end()
            containers = set(member.runtime.containers)
            member.start()  # a new process takes the newest and adopts what runs
            runs_pods(member, "anew")
            newest = after[0]
            seen: Any = used(server, "RuntimeService")
            assert newest in seen
            assert containers <= set(member.runtime.containers)
            member.end()
        member.runtime.close()


def test_a_runtime_that_stays_away_makes_the_node_unready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_health, "_DOWN_AFTER", 0.5)
    runtime = StubRuntime()

    async def test() -> None:
        async with AsyncClient(str(tmp_path / "cri.sock")) as cri:
            health = runtime_health.RuntimeHealth(cri)
            with StubServer(str(tmp_path / "cri.sock"), runtime):
                await health.look()
            await health.look()
            assert health.problem == "", "it may come back at once"
            async with asyncio.timeout(30):
                while not health.problem:
                    await health.look()
                assert health.problem == "container runtime is down"
                with StubServer(str(tmp_path / "cri.sock"), runtime):
                    while health.problem:
                        await health.look()

    asyncio.run(test())
    runtime.close()
