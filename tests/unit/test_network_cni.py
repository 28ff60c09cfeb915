"""Runs of plugins: what they are told, and what their answers mean."""

import asyncio
import json
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from podwright.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    PodwrightError,
    ResourceExhausted,
    Unavailable,
)
from podwright.network.cni import Cni
from podwright.network.config import NetworkConfig, Pace, Settings, parse
from podwright.network.request import Call
from podwright.testing.cni import FakePlugin

T = TypeVar("T")

NETNS = "/proc/self/ns/net"


class Bench:
    """A chain of two plugins."""

    def __init__(self, root: Path) -> None:
        self.directory = str(root)
        self.first = FakePlugin(self.directory, "first")
        self.second = FakePlugin(self.directory, "second")
        self.cni = self.with_pace(Pace())

    def with_pace(self, pace: Pace) -> Cni:
        return Cni(Settings(plugin_dirs=(f"{self.directory}/none", self.directory), pace=pace))

    def network(self, **keys: Any) -> NetworkConfig:
        first = {"type": "first", "addresses": ["10.1.0.2/24", "fd00::2/64"], "colour": {"deep": [1, 2.5, None]}}
        second = {"type": "second", "capabilities": {"portMappings": True, "bandwidth": False}}
        document = {"cniVersion": "1.0.0", "name": "n", "plugins": [first, second], **keys}
        return parse(json.dumps(document), "/etc/cni/net.d/10-n.conflist")

    def call(self, network: NetworkConfig | None = None, netns: str = NETNS, container_id: str = "id1") -> Call:
        return Call(
            network=network or self.network(),
            container_id=container_id,
            netns=netns,
            ifname="eth0",
            args={"IgnoreUnknown": "1", "K8S_POD_NAME": "web"},
            capabilities={"portMappings": [{"hostPort": 1}], "bandwidth": {"ingressRate": 1}},
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def go(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def test_add_goes_down_the_chain(bench: Bench) -> None:
    result = go(bench.cni.add(bench.call()))
    assert [ip["address"] for ip in result["ips"]] == ["10.1.0.2/24", "fd00::2/64"]
    (first,), (second,) = bench.first.runs(), bench.second.runs()
    assert first.environment == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "id1",
        "CNI_NETNS": NETNS,
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=web",
        "CNI_PATH": f"{bench.directory}/none:{bench.directory}",
    }
    assert first.config == {
        "type": "first",
        "addresses": ["10.1.0.2/24", "fd00::2/64"],
        "colour": {"deep": [1, 2.5, None]},
        "cniVersion": "1.0.0",
        "name": "n",
    }
    assert second.config == {
        "type": "second",
        "cniVersion": "1.0.0",
        "name": "n",
        "runtimeConfig": {"portMappings": [{"hostPort": 1}]},
        "prevResult": result,
    }


def test_delete_goes_up_the_chain_with_the_result_of_add(bench: Bench) -> None:
    async def work() -> None:
        call = bench.call()
        await bench.cni.delete(call, await bench.cni.add(call))

    go(work())
    (_, first), (_, second) = bench.first.runs(), bench.second.runs()
    assert first.verb == second.verb == "DEL"
    assert first.config["prevResult"] == second.config["prevResult"]
    assert first.config["prevResult"]["ips"][0]["address"] == "10.1.0.2/24"
    assert second.config["runtimeConfig"] == {"portMappings": [{"hostPort": 1}]}
    assert first.environment["CNI_NETNS"] == NETNS
    assert bench.first.held() == bench.second.held() == set()


def test_delete_stops_at_a_failure_and_may_be_repeated(bench: Bench) -> None:
    async def work() -> None:
        call = bench.call()
        await bench.cni.add(call)
        bench.second.fail("DEL", on=1)
        with pytest.raises(Internal, match='plugin "second", DEL: as told'):
            await bench.cni.delete(call, None)
        assert bench.first.runs("DEL") == []
        await bench.cni.delete(call, None)
        await bench.cni.delete(call, None)

    go(work())
    assert bench.first.held() == bench.second.held() == set()


def test_delete_goes_on_where_a_plugin_knows_no_such_container(bench: Bench) -> None:
    bench.second.fail("DEL", code=3, msg="unknown container")
    go(bench.cni.delete(bench.call(), None))
    assert len(bench.first.runs("DEL")) == 1


def test_a_refused_configuration_needs_no_undoing_if_it_was_never_accepted(bench: Bench) -> None:
    async def work() -> None:
        bench.second.fail("DEL", code=7, msg="bad configuration")
        call = bench.call()
        result = await bench.cni.add(call)
        with pytest.raises(FailedPrecondition, match="bad configuration"):
            await bench.cni.delete(call, result)
        await bench.cni.delete(call, None)
        assert bench.first.held() == set()

    go(work())


@pytest.mark.parametrize("kind", ["missing", "unmounted"])
def test_delete_tells_no_namespace_that_has_vanished(bench: Bench, tmp_path: Path, kind: str) -> None:
    netns = tmp_path / "netns"
    if kind == "unmounted":
        netns.write_text("")
    go(bench.cni.delete(bench.call(netns=str(netns)), None))
    (run,) = bench.first.runs()
    assert run.environment["CNI_NETNS"] == ""
    assert "prevResult" not in run.config


def test_old_plugins_get_no_result_at_delete_and_no_check(bench: Bench) -> None:
    async def work() -> None:
        call = bench.call(bench.network(cniVersion="0.3.1"))
        result = await bench.cni.add(call)
        await bench.cni.check(call, result)
        await bench.cni.delete(call, result)

    go(work())
    assert [run.verb for run in bench.first.runs()] == ["ADD", "DEL"]
    assert "prevResult" not in bench.first.runs("DEL")[0].config


def test_check(bench: Bench) -> None:
    async def work() -> None:
        call = bench.call()
        result = await bench.cni.add(call)
        await bench.cni.check(call, result)
        (run,) = bench.second.runs("CHECK")
        assert run.config["prevResult"] == result
        await bench.cni.delete(call, result)
        with pytest.raises(Internal, match=r'plugin "first", CHECK: no reservation \(CNI error 100\)'):
            await bench.cni.check(call, result)
        await bench.cni.check(bench.call(bench.network(disableCheck=True)), result)

    go(work())


@pytest.mark.parametrize(
    ("code", "msg", "kind"),
    [
        (1, "incompatible CNI versions", FailedPrecondition),
        (2, "unsupported field", FailedPrecondition),
        (3, "unknown container", NotFound),
        (5, "cannot read", Internal),
        (7, "invalid configuration", FailedPrecondition),
        (11, "try again later", Unavailable),
        (50, "not available", Unavailable),
        (51, "cut off", Unavailable),
        (100, "of its own", Internal),
        (
            999,
            "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.2",
            ResourceExhausted,
        ),
    ],
)
def test_error_objects_become_kinds_and_keep_their_words(
    bench: Bench, code: int, msg: str, kind: type[PodwrightError]
) -> None:
    bench.second.fail("ADD", code=code, msg=msg, details="in detail")
    with pytest.raises(kind) as caught:
        go(bench.cni.add(bench.call()))
    assert type(caught.value) is kind
    assert str(caught.value) == (
        'sandbox "id1": network "n" (/etc/cni/net.d/10-n.conflist): plugin "second", ADD: '
        f"{msg}: in detail (CNI error {code})"
    )


@pytest.mark.parametrize(
    ("text", "status", "stderr", "reason"),
    [
        ("", 0, "", "printed no result: Expecting value"),
        ("hello", 0, "", 'printed no result: .* in "hello"'),
        ("[1]", 0, "", r'printed no result: "\[1\]" is no JSON object'),
        ("hello", 3, "", 'status 3, no error object, "hello"'),
        ('{"code": "x"}', 3, "panic: nil", 'status 3, no error object, "panic: nil"'),
        ("", 3, "", "status 3, no error object, no output"),
        ("[]", 3, "", r"status 3, no error object, "),
    ],
)
def test_babble_is_quoted(bench: Bench, text: str, status: int, stderr: str, reason: str) -> None:
    bench.first.babble("ADD", text, status=status, stderr=stderr)
    with pytest.raises(Internal, match=f'sandbox "id1": .*plugin "first", ADD: {reason}'):
        go(bench.cni.add(bench.call()))
    assert bench.second.runs() == []


def test_a_plugin_that_cannot_be_run_or_found_is_named(bench: Bench) -> None:
    Path(bench.second.path).write_text("#!/nonexistent/interpreter\n")
    with pytest.raises(Internal, match=r'plugin "second", ADD: cannot start .*No such file'):
        go(bench.cni.add(bench.call()))
    os.unlink(bench.second.path)
    with pytest.raises(Unavailable, match=r'plugin "second" is not in .*: install it'):
        go(bench.cni.add(bench.call()))


def test_time_is_for_the_whole_chain_and_the_plugin_is_killed(bench: Bench) -> None:
    bench.second.hang("ADD")
    cni = bench.with_pace(Pace(add=0.5))
    with pytest.raises(DeadlineExceeded, match=r'plugin "second", ADD: did not end within 0\.5 seconds'):
        go(cni.add(bench.call()))
    (run,) = bench.second.runs()
    with pytest.raises(ProcessLookupError):
        os.kill(run.pid, 0)


def test_version_is_the_highest_that_all_speak(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    FakePlugin(bench.directory, "old", versions=("0.3.1", "0.4.0", "1.0.0"))
    choice = {"cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "plugins": [{"type": "first"}, {"type": "old"}]}

    async def work() -> None:
        assert (await bench.cni.negotiate(bench.network(**choice))).versions == ("1.0.0",)
        assert (await bench.cni.negotiate(bench.network(**choice))).versions == ("1.0.0",)
        assert len(bench.first.runs("VERSION")) == 1
        os.utime(bench.first.path)
        await bench.cni.negotiate(bench.network(**choice))
        assert len(bench.first.runs("VERSION")) == 2
        new = bench.network(cniVersion="0.2.0", cniVersions=["1.1.0"], plugins=choice["plugins"])
        with pytest.raises(
            FailedPrecondition, match=r'written for CNI 0\.2\.0, 1\.1\.0, but plugin "old" speaks 0\.3\.1'
        ):
            await bench.cni.negotiate(new)

    go(work())


def test_plugins_older_than_the_one_version_are_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    FakePlugin(bench.directory, "old", versions=("0.4.0", "1.0.0"))
    network = bench.network(cniVersion="1.1.0", plugins=[{"type": "first"}, {"type": "old"}])
    with pytest.raises(FailedPrecondition, match=r'"old" speaks 0\.4\.0, 1\.0\.0: install a newer one'):
        go(bench.cni.negotiate(network))


def test_version_is_not_asked_for_where_there_is_no_choice(bench: Bench) -> None:
    network = bench.network()
    assert go(bench.cni.negotiate(network)) is network
    assert bench.first.runs() == []


@pytest.mark.parametrize("text", ["{}", "1.0.0", '{"supportedVersions": 5}'])
def test_nonsense_about_versions_is_quoted(bench: Bench, text: str) -> None:
    Path(bench.first.path).write_text(f"#!/bin/sh\necho '{text}'\n")
    with pytest.raises(Internal, match='plugin "first", VERSION: no versions in '):
        go(bench.cni.negotiate(bench.network(cniVersions=["0.4.0"])))


def test_status_stops_at_the_first_that_is_not_ready(bench: Bench) -> None:
    async def work() -> None:
        network = bench.network(cniVersion="1.1.0")
        await bench.cni.status(network)
        (run,) = bench.second.runs()
        assert set(run.environment) == {"CNI_COMMAND", "CNI_PATH"}
        assert run.config == {"type": "second", "cniVersion": "1.1.0", "name": "n"}
        bench.first.fail("STATUS", code=50, msg="agent is away")
        with pytest.raises(Unavailable, match=r'^network "n" .*plugin "first", STATUS: agent is away'):
            await bench.cni.status(network)
        assert len(bench.second.runs()) == 1

    go(work())


def test_collect_tells_what_is_valid_and_goes_on_after_failures(bench: Bench) -> None:
    async def work() -> None:
        network = bench.network(cniVersion="1.1.0")
        kept, lost = bench.call(network), bench.call(network, container_id="id2")
        await bench.cni.add(kept)
        await bench.cni.add(lost)
        bench.first.fail("GC")
        with pytest.raises(Internal, match='plugin "first", GC: as told'):
            await bench.cni.collect(network, [kept])

    go(work())
    (run,) = bench.second.runs("GC")
    assert run.config["cni.dev/valid-attachments"] == [{"containerID": "id1", "ifname": "eth0"}]
    assert bench.second.held() == {"id1"}
    assert bench.first.held() == {"id1", "id2"}


def test_a_plugin_killed_by_a_signal(bench: Bench) -> None:
    Path(bench.first.path).write_text("#!/bin/sh\nkill -SEGV $$\n")
    with pytest.raises(Internal, match="killed by signal 11, no error object, no output"):
        go(bench.cni.add(bench.call()))


def test_a_plugin_that_is_being_replaced(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podwright.network.cni.find_plugin", lambda *_: f"{bench.directory}/gone")
    with pytest.raises(Unavailable, match=r'plugin "first": .*/gone: No such file'):
        go(bench.cni.negotiate(bench.network(cniVersions=["1.0.0", "1.1.0"])))
