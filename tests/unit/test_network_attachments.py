"""Attachments: nothing is lost, whatever fails and whenever the daemon ends."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from podwright.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from podwright.kernel.process import Pid
from podwright.network.attachments import Network
from podwright.network.config import Configurations, Pace, Settings
from podwright.network.request import AttachRequest, PortMapping, make_call
from podwright.state.store import Store
from podwright.testing.cni import FakePlugin

T = TypeVar("T")

QUICK = Pace(add=20, delete=20, retry_first=0.02, retry_most=0.05, status_age=0.0, collect_retry=0.02)


class Host:
    """A machine with one fake plugin, whose daemon can be started again and again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        (root / "net.d").mkdir()
        self.plugin = FakePlugin(str(root / "bin"))
        self.configure()

    def configure(self, **keys: Any) -> None:
        plugin = {"type": "fake", "addresses": ["10.1.0.2/24", "fd00::2/64"], **keys.pop("plugin", {})}
        document = {"cniVersion": "1.0.0", "name": "pods", "plugins": [plugin], **keys}
        new = self.root / "new"
        new.write_text(json.dumps(document))
        new.replace(self.root / "net.d" / "10-pods.conflist")

    def settings(self, pace: Pace = QUICK) -> Settings:
        return Settings(str(self.root / "net.d"), (str(self.root / "bin"),), pace=pace)

    @contextlib.asynccontextmanager
    async def daemon(self, *live: str, pace: Pace = QUICK) -> AsyncIterator[Network]:
        store = Store(str(self.root / "state.db"))
        network = Network(store, self.settings(pace))
        try:
            await network.start(set(live))
            yield network
        finally:
            await network.close()
            store.close()

    async def begin(self, ids: list[str]) -> None:
        """Leaves rows as a daemon does that dies before ADD."""
        network = Configurations(self.settings()).current()
        calls = [(sandbox_id, msgspec.json.encode(make_call(request(sandbox_id), network))) for sandbox_id in ids]
        store = Store(str(self.root / "state.db"))
        await store.write(*(("INSERT INTO attachment (sandbox, call) VALUES (?, ?)", row) for row in calls))
        store.close()

    def start_child(self) -> "subprocess.Popen[bytes]":
        """Another process that attaches a sandbox s1."""
        return subprocess.Popen([sys.executable, "-c", CHILD, str(self.root)])

    def lose_reservation(self) -> None:
        """Leaves one that no row knows of."""
        Path(f"{self.plugin.path}.d/held/lost-eth0").touch()

    def rows(self) -> dict[str, tuple[str | None, int]]:
        """What another process sees in the database: result and mark by sandbox."""
        with contextlib.closing(sqlite3.connect(self.root / "state.db")) as connection:
            rows = connection.execute("SELECT sandbox, result, leaving FROM attachment").fetchall()
        return {sandbox: (result, leaving) for sandbox, result, leaving in rows}

    async def until_free(self) -> None:
        await until(lambda: not self.plugin.held() and not self.rows())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def request(sandbox_id: str = "s1", **fields: Any) -> AttachRequest:
    values = {"netns": "/proc/self/ns/net", "name": "web", "namespace": "default", "uid": "u-1"}
    return AttachRequest(sandbox_id=sandbox_id, **{**values, **fields})


def go(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(work())


async def until(condition: Callable[[], object]) -> None:
    """Waits for what happens in another process or in the background."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def test_attach_and_detach(host: Host) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            assert network.get("s1") is None
            attachment = await network.attach(request())
            assert attachment.ips == ("10.1.0.2", "fd00::2")
            assert attachment.interfaces[0].sandbox == "/proc/self/ns/net"
            assert network.get("s1") == attachment
            assert json.loads(host.rows()["s1"][0] or "") == attachment.result
            await network.detach("s1")
            assert network.get("s1") is None
            assert host.rows() == {}
            await network.detach("s1")
            await network.detach("never seen")

    go(work)
    assert [run.verb for run in host.plugin.runs()] == ["ADD", "DEL"]
    assert host.plugin.held() == set()


def test_row_precedes_add(host: Host) -> None:
    host.plugin.hang("ADD")

    async def work() -> None:
        async with host.daemon() as network:
            attaching = asyncio.create_task(network.attach(request()))
            await host.plugin.wait_for("ADD")
            assert host.rows() == {"s1": (None, 0)}
            assert network.get("s1") is None
            host.plugin.open_gate()
            await attaching

    go(work)


def test_delete_is_told_what_add_was_told(host: Host) -> None:
    """The configuration file has changed, the daemon too, and the request is forgotten."""
    capabilities = {"portMappings": True, "io.kubernetes.cri.pod-annotations": True}

    async def work() -> None:
        host.configure(plugin={"capabilities": capabilities, "old": True})
        async with host.daemon() as network:
            wishes = {"port_mappings": [PortMapping(80, 8080)], "annotations": {"a": "b"}}
            await network.attach(request("s1", **wishes))
            await network.attach(request("s2", **wishes))
            host.configure(name="other", plugin={"new": True})
            await network.detach("s1")
        async with host.daemon("s2") as network:
            await network.detach("s2")

    go(work)
    add, *_ = host.plugin.runs("ADD")
    for run in host.plugin.runs("DEL"):
        added = {**add.config, "prevResult": run.config["prevResult"]}
        assert run.config == added
        assert run.environment["CNI_ARGS"].startswith("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;")
    assert add.config["old"]
    assert add.config["runtimeConfig"]["portMappings"][0]["hostPort"] == 8080


def test_failed_add_is_followed_by_delete(host: Host) -> None:
    host.plugin.fail("ADD", code=11, msg="later")

    async def work() -> None:
        async with host.daemon() as network:
            with pytest.raises(Unavailable, match="later") as caught:
                await network.attach(request())
            assert not hasattr(caught.value, "__notes__")
            assert network.get("s1") is None
            assert host.rows() == {}
            assert host.plugin.held() == set()
            await network.detach("s1")

    go(work)
    assert [run.verb for run in host.plugin.runs()] == ["ADD", "DEL"]


def test_add_that_lost_a_race_is_tried_again(host: Host) -> None:
    """Two of the first pods with host ports after a boot, both making the chains of portmap."""
    lost = "CHAIN_USER_ADD failed (File exists): chain CNI-HOSTPORT-MASQ"
    host.plugin.fail("ADD", on=1, msg=lost)
    host.plugin.fail("ADD", on=2, msg=lost)

    async def work() -> None:
        async with host.daemon() as network:
            assert (await network.attach(request())).ips
            host.plugin.fail("ADD", msg=lost)
            with pytest.raises(Internal, match="CHAIN_USER_ADD"):
                await network.attach(request("s2"))
            assert set(host.rows()) == {"s1"}

    go(work)
    s1, s2 = ([run.verb for run in host.plugin.runs() if run.environment["CNI_CONTAINERID"] == s] for s in ("s1", "s2"))
    assert s1 == ["ADD", "DEL", "ADD", "DEL", "ADD"]
    assert s2 == ["ADD", "DEL"] * 9


def test_lost_race_is_what_is_told_where_it_cannot_be_undone(host: Host) -> None:
    host.plugin.fail("ADD", msg="Chain already exists")
    host.plugin.fail("DEL", on=1, msg="no hands")
    host.plugin.fail("DEL", on=2, msg="no hands")

    async def work() -> None:
        async with host.daemon() as network:
            with pytest.raises(Internal, match="Chain already exists") as caught:
                await network.attach(request())
            (note,) = caught.value.__notes__
            assert "no hands" in note
            await host.until_free()

    go(work)
    assert len(host.plugin.runs("ADD")) == 1


def test_failure_of_that_delete_is_noted_and_repeated(host: Host) -> None:
    host.plugin.fail("ADD", msg="no cable")
    for on in (1, 2, 3):
        host.plugin.fail("DEL", on=on, msg="no hands")

    async def work() -> None:
        async with host.daemon() as network:
            with pytest.raises(Internal, match="no cable") as caught:
                await network.attach(request())
            (note,) = caught.value.__notes__
            assert "no hands" in note
            await host.until_free()

    go(work)
    assert len(host.plugin.runs("DEL")) == 4


@pytest.mark.parametrize("text", ["", "{}", '{"ips": [{"address": "?"}]}', '{"cniVersion": "1.0.0", "ips": []}'])
def test_useless_result_is_a_failed_add(host: Host, text: str) -> None:
    host.plugin.babble("ADD", text)

    async def work() -> None:
        async with host.daemon() as network:
            with pytest.raises(Internal, match='sandbox "s1": network "pods"'):
                await network.attach(request())
            assert host.rows() == {}

    go(work)
    assert host.plugin.held() == set()


def test_add_that_takes_too_long_is_killed_and_undone(host: Host) -> None:
    host.plugin.hang("ADD")

    async def work() -> None:
        async with host.daemon(pace=Pace(add=0.3)) as network:
            with pytest.raises(DeadlineExceeded, match="did not end within"):
                await network.attach(request())
            assert host.rows() == {}

    go(work)
    assert len(host.plugin.runs("DEL")) == 1


def test_failures_that_cannot_be_undone_do_not_pile_up(host: Host) -> None:
    """Kubelets try for ever, with a new sandbox each time."""
    host.plugin.fail("DEL", msg="no hands")

    async def work() -> None:
        await host.begin([f"s{number}" for number in range(100)])
        async with host.daemon() as network:
            await until(lambda: sum(entry.retrying for entry in network._entries.values()) == 100)
            with pytest.raises(Unavailable, match="100 attachments failed and could not be undone"):
                await network.attach(request("new"))
            host.configure(name="other")
            await network.attach(request("elsewhere"))
            host.configure()
            host.plugin.behave()
            await until(lambda: set(host.rows()) == {"elsewhere"})
            await network.attach(request("new"))

    go(work)


def test_detach_never_raises_and_is_repeated(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            await network.attach(request())
            for on in (1, 2, 3):
                host.plugin.fail("DEL", on=on, msg="no hands")
            with caplog.at_level(logging.WARNING):
                await network.detach("s1")
            assert network.get("s1") is None
            await host.until_free()

    go(work)
    assert len(host.plugin.runs("DEL")) == 4
    assert 'sandbox "s1"' in caplog.text
    assert "no hands" in caplog.text


def test_failed_detach_is_repeated_by_the_next_daemon(host: Host) -> None:
    """Even if that is told that the sandbox lives."""
    slow = Pace(retry_first=1000)

    async def work() -> None:
        async with host.daemon(pace=slow) as network:
            await network.attach(request())
            host.plugin.fail("DEL", msg="no hands")
            await network.detach("s1")
            assert host.rows()["s1"][1] == 1
        host.plugin.behave()
        async with host.daemon("s1", pace=slow) as network:
            assert network.get("s1") is None
            await host.until_free()

    go(work)


def test_detach_by_hand_overtakes_the_repetition(host: Host) -> None:
    async def work() -> None:
        async with host.daemon(pace=Pace(retry_first=1000)) as network:
            await network.attach(request())
            host.plugin.fail("DEL", on=1)
            await network.detach("s1")
            assert host.rows()
            await network.detach("s1")
            assert not host.rows()

    go(work)


def test_detach_succeeds_at_once_where_the_plugin_is_not_installed(host: Host) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            await network.attach(request())
            program = host.root / "bin" / "fake"
            program.rename(host.root / "away")
            await network.detach("s1")
            assert host.rows()["s1"][1] == 1
            (host.root / "away").rename(program)
            await host.until_free()

    go(work)


def test_one_sandboxs_calls_follow_one_another_and_others_do_not_wait(host: Host) -> None:
    host.plugin.hang("ADD", on=1)

    async def work() -> None:
        async with host.daemon() as network:
            first = asyncio.create_task(network.attach(request("s1")))
            await host.plugin.wait_for("ADD")
            detaching = asyncio.create_task(network.detach("s1"))
            await network.attach(request("s2"))
            await network.detach("s2")
            assert not first.done()
            assert not detaching.done()
            assert [run.environment["CNI_CONTAINERID"] for run in host.plugin.runs("DEL")] == ["s2"]
            host.plugin.open_gate()
            await detaching
            assert first.done()
            assert host.rows() == {}

    go(work)
    assert host.plugin.held() == set()


def test_work_goes_on_when_the_caller_leaves(host: Host) -> None:
    host.plugin.hang("ADD")
    host.plugin.hang("DEL", gate="second")

    async def work() -> None:
        async with host.daemon() as network:
            attaching = asyncio.create_task(network.attach(request()))
            await host.plugin.wait_for("ADD")
            attaching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attaching
            host.plugin.open_gate()
            await until(lambda: network.get("s1"))
            detaching = asyncio.create_task(network.detach("s1"))
            await host.plugin.wait_for("DEL")
            detaching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await detaching
            host.plugin.open_gate("second")
            await host.until_free()

    go(work)


def test_an_id_is_attached_once(host: Host) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            await network.attach(request())
            with pytest.raises(AlreadyExists, match='sandbox "s1"'):
                await network.attach(request())
            assert len(host.plugin.runs("ADD")) == 1

    go(work)


def test_senseless_request_leaves_no_trace(host: Host) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            with pytest.raises(InvalidArgument, match="ingress-bandwidth"):
                await network.attach(request(annotations={"kubernetes.io/ingress-bandwidth": "much"}))
            assert host.rows() == {}
            assert host.plugin.runs() == []

    go(work)


def test_next_daemon_keeps_what_lives_and_releases_the_rest(host: Host) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            kept = await network.attach(request("s1"))
            await network.attach(request("s2"))
            host.plugin.hang("ADD", on=3)
            attaching = asyncio.create_task(network.attach(request("s3")))
            await host.plugin.wait_for("ADD", 3)
        with contextlib.suppress(asyncio.CancelledError):
            await attaching
        assert set(host.rows()) == {"s1", "s2", "s3"}
        async with host.daemon("s1", "s3") as network:
            assert network.get("s1") == kept
            assert network.get("s2") is network.get("s3") is None
            await until(lambda: set(host.rows()) == {"s1"})
            assert host.plugin.held() == {"s1"}
            await network.check("s1")

    go(work)
    assert {run.environment["CNI_CONTAINERID"] for run in host.plugin.runs("DEL")} == {"s2", "s3"}


def test_unreadable_row_does_not_keep_the_daemon_from_starting(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            await network.attach(request("s1"))
            await network.attach(request("s2"))
        with contextlib.closing(sqlite3.connect(host.root / "state.db")) as connection:
            connection.execute("UPDATE attachment SET call = ? WHERE sandbox = 's1'", (b"{",))
            connection.commit()
        async with host.daemon("s1", "s2") as network:
            assert network.get("s2") is not None
            assert network.get("s1") is None

    go(work)
    assert "attachment of sandbox s1 cannot be read" in caplog.text


CHILD = """
import asyncio, json, sys
from podwright.kernel.process import Pid
from podwright.network.attachments import Network
from podwright.network.config import Settings
from podwright.network.request import AttachRequest
from podwright.state.store import Store
root = sys.argv[1]
async def main():
    network = Network(Store(root + "/state.db"), Settings(root + "/net.d", (root + "/bin",)))
    await network.attach(AttachRequest("s1", "/proc/self/ns/net", "web", "default", "u-1"))
asyncio.run(main())
"""


def test_a_plugin_that_outlives_its_daemon_is_ended_before_delete(host: Host) -> None:
    """Else its ADD would reserve what nobody gives back."""
    host.plugin.hang("ADD")

    async def work() -> None:
        child = host.start_child()
        (run,) = await host.plugin.wait_for("ADD")
        child.kill()
        child.wait()
        orphan = Pid.of(run.pid)
        assert orphan.alive()
        async with host.daemon():
            await until(lambda: not host.rows())
        assert not orphan.alive()
        host.plugin.open_gate()

    go(work)
    assert host.plugin.held() == set()


@pytest.mark.parametrize("failpoint", ["kill@network.add", "kill@after:network.add"])
def test_killed_round_add(host: Host, failpoint: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(host.root)],
        env={**os.environ, "PODWRIGHT_FAILPOINT": failpoint},
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    assert host.rows() == {"s1": (None, 0)}
    assert host.plugin.held() == ({"s1"} if "after" in failpoint else set())

    async def work() -> None:
        async with host.daemon("s1"):
            await host.until_free()

    go(work)


def test_check(host: Host) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            with pytest.raises(NotFound, match='sandbox "s1" is not attached'):
                await network.check("s1")
            await network.attach(request())
            await network.check("s1")
            host.plugin.fail("CHECK", msg="cable pulled")
            with pytest.raises(Internal, match="CHECK: cable pulled"):
                await network.check("s1")

    go(work)


def test_close_ends_what_hangs(host: Host) -> None:
    host.plugin.hang("DEL")

    async def work() -> float:
        async with host.daemon() as network:
            await network.attach(request())
            detaching = asyncio.create_task(network.detach("s1"))
            await host.plugin.wait_for("DEL")
            started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await detaching
        return time.monotonic() - started

    assert go(work) < 5
    assert host.rows()["s1"][1] == 1


def test_status_follows_the_configuration(host: Host) -> None:
    path = host.root / "net.d" / "10-pods.conflist"

    async def work() -> None:
        async with host.daemon() as network:
            assert network.status().ready
            path.unlink()
            status = network.status()
            assert not status.ready
            assert status.reason == "NetworkPluginNotReady"
            assert str(path.parent) in status.message
            with pytest.raises(Unavailable, match="no network configuration"):
                await network.attach(request())
            path.write_text("{")
            assert "10-pods.conflist" in network.status().message
            with pytest.raises(FailedPrecondition, match=r"10-pods\.conflist"):
                await network.attach(request())
            host.configure()
            assert network.status().ready

    go(work)
    assert host.plugin.runs() == []


def test_status_asks_plugins_that_know_the_verb(host: Host) -> None:
    host.configure(cniVersion="1.1.0")
    host.plugin.hang("STATUS", on=1)

    async def work() -> None:
        async with host.daemon() as network:
            assert "have not answered to STATUS yet" in network.status().message
            await host.plugin.wait_for("STATUS")
            network.status()
            host.plugin.open_gate()
            await until(lambda: network.status().ready)
            host.plugin.fail("STATUS", code=50, msg="agent is away")
            await until(lambda: not network.status().ready)
            assert "agent is away (CNI error 50)" in network.status().message
            host.plugin.behave()
            await until(lambda: network.status().ready)

    go(work)


def test_status_is_not_asked_more_often_than_useful(host: Host) -> None:
    host.configure(cniVersion="1.1.0")

    async def work() -> None:
        async with host.daemon(pace=Pace(status_age=1000)) as network:
            await until(lambda: network.status().ready)
            for _ in range(100):
                assert network.status().ready
            host.configure(cniVersion="1.1.0", name="other")
            assert not network.status().ready
            await until(lambda: network.status().ready)

    go(work)
    assert len(host.plugin.runs("STATUS")) == 2


def test_status_and_collection_respect_what_the_plugins_speak(tmp_path: Path) -> None:
    host = Host(tmp_path)
    (tmp_path / "old").mkdir()
    FakePlugin(str(tmp_path / "old"), versions=("0.4.0", "1.0.0"))
    (tmp_path / "bin" / "fake").write_text(f'#!/bin/sh\nexec {tmp_path}/old/fake "$@"\n')
    host.configure(cniVersions=["0.4.0", "1.1.0"])

    async def work() -> None:
        async with host.daemon() as network:
            await until(lambda: network.status().ready)
            attachment = await network.attach(request())
            assert attachment.result["cniVersion"] == "1.0.0"
            await network.detach("s1")

    go(work)


def test_collection_at_start_and_periodically(host: Host) -> None:
    host.configure(cniVersion="1.1.0")

    async def work() -> None:
        async with host.daemon(pace=Pace(collect_every=0.05)) as network:
            await network.attach(request("s1"))
            host.lose_reservation()
            await until(lambda: host.plugin.held() == {"s1"})
            await host.plugin.wait_for("GC", len(host.plugin.runs("GC")) + 2)

    go(work)


def test_collection_takes_what_could_not_be_detached(host: Host) -> None:
    host.configure(cniVersion="1.1.0")

    async def work() -> None:
        async with host.daemon(pace=Pace(collect_every=0.05, retry_first=1000)) as network:
            await network.attach(request("s1"))
            await network.attach(request("s2"))
            host.plugin.fail("DEL", msg="no hands")
            await network.detach("s1")
            await until(lambda: host.plugin.held() == {"s2"})

    go(work)


def test_collection_waits_for_a_configuration_and_outlives_failures(host: Host) -> None:
    path = host.root / "net.d" / "10-pods.conflist"
    path.unlink()

    async def work() -> None:
        async with host.daemon():
            host.plugin.fail("GC", on=1)
            host.configure(cniVersion="1.1.0")
            await host.plugin.wait_for("GC", 2)

    go(work)


@pytest.mark.parametrize("keys", [{"cniVersion": "1.0.0"}, {"cniVersion": "1.1.0", "disableGC": True}])
def test_collection_only_where_it_is_allowed(host: Host, keys: dict[str, Any]) -> None:
    host.configure(**keys)

    async def work() -> None:
        async with host.daemon(pace=Pace(collect_every=0.001)) as network:
            await network.attach(request())
            await network.detach("s1")

    go(work)
    assert host.plugin.runs("GC") == []


def test_collection_is_alone(host: Host) -> None:
    """CNI 1.1, Lifecycle & Ordering: no ADD and no DEL while GC runs, and no GC while they do."""
    host.configure(cniVersion="1.1.0")
    host.plugin.hang("GC", on=1)
    host.plugin.hang("ADD", on=1, gate="second")

    async def work() -> None:
        async with host.daemon(pace=Pace(collect_every=0.001)) as network:
            await host.plugin.wait_for("GC")
            attaching = asyncio.create_task(network.attach(request()))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(host.plugin.wait_for("ADD"), 0.3)
            host.plugin.open_gate()
            await host.plugin.wait_for("ADD")
            collected = len(host.plugin.runs("GC"))
            other = await network.attach(request("s2"))
            assert other.ips
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(host.plugin.wait_for("GC", collected + 1), 0.3)
            host.plugin.open_gate("second")
            await attaching
            await host.plugin.wait_for("GC", collected + 1)

    go(work)
    valid = host.plugin.runs("GC")[-1].config["cni.dev/valid-attachments"]
    assert {entry["containerID"] for entry in valid} == {"s1", "s2"}


def test_ignored_host_ports_are_told_of_once_a_configuration(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            await network.attach(request("s0", port_mappings=[PortMapping(80, 0)]))
            assert "portMappings" not in caplog.text
            await network.attach(request("s1", port_mappings=[PortMapping(80, 8080)]))
            await network.attach(request("s2", port_mappings=[PortMapping(80, 8081)]))
            assert caplog.text.count("capability portMappings") == 1
            host.configure(name="other")
            await network.attach(request("s3", port_mappings=[PortMapping(80, 8082)]))
            assert caplog.text.count("capability portMappings") == 2
            host.configure(plugin={"capabilities": {"portMappings": True}})
            await network.attach(request("s4", port_mappings=[PortMapping(80, 8083)]))
            assert caplog.text.count("capability portMappings") == 2

    go(work)


def test_pod_cidr_makes_a_configuration(host: Host) -> None:
    (host.root / "net.d" / "10-pods.conflist").unlink()
    template = host.root / "template"
    template.write_text('{"cniVersion": "1.0.0", "name": "pods", "type": "fake", "addresses": ["${pod_cidr}"]}')

    async def work() -> None:
        store = Store(str(host.root / "state.db"))
        network = Network(store, Settings(str(host.root / "net.d"), (str(host.root / "bin"),), template=str(template)))
        assert not network.status().ready
        await network.update_pod_cidr("10.7.0.0/24")
        assert network.status().ready
        assert (await network.attach(request())).ips == ("10.7.0.0",)
        await network.close()
        store.close()

    go(work)


def test_many_at_once(host: Host) -> None:
    async def work() -> None:
        async with host.daemon() as network:
            ids = [f"s{number}" for number in range(50)]
            await asyncio.gather(*(network.attach(request(sandbox_id)) for sandbox_id in ids))
            assert host.plugin.held() == set(ids) == set(host.rows())
            await asyncio.gather(*map(network.detach, ids))
            assert host.rows() == {}

    go(work)
    assert host.plugin.held() == set()
