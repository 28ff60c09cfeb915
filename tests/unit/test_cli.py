"""The commands on the stub runtime, as people type them; what needs a real node is tested in tests/cri."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from podwright.cli.arguments import parser
from podwright.client import Client
from podwright.conformance.run import chosen
from podwright.cri import v1
from podwright.errors import Code
from podwright.testing.cri_server import StubServer
from support.cri import until
from support.terminal import terminal

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StubServer]:
    with StubServer(str(tmp_path / "cri.sock")) as running:
        running.runtime.add_image("busybox:1")
        yield running
        running.runtime.close()


def podwright(server: StubServer, command: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "podwright", command, "-r", server.endpoint, *arguments]


def run(command: list[str], status: int = 0, env: Mapping[str, str] | None = None) -> str:
    """What the command prints on stdout and stderr."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
        env=os.environ if env is None else env,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def start(server: StubServer, pod: str, *containers: str, labels: Mapping[str, str] | None = None) -> list[str]:
    """A pod with running containers; returns their ids."""
    metadata = v1.PodSandboxMetadata(name=pod, namespace="test", uid=pod)
    config = v1.PodSandboxConfig(metadata=metadata, labels=labels)
    made = []
    with Client(server.endpoint) as cri:
        sandbox = cri.run_pod_sandbox(config).pod_sandbox_id
        for name in containers:
            container = v1.ContainerConfig(
                metadata=v1.ContainerMetadata(name=name), image=v1.ImageSpec(image="busybox:1")
            )
            made.append(cri.create_container(sandbox, container, sandbox_config=config).container_id)
            cri.start_container(made[-1])
    return made


def test_top_of_a_runtime_without_figures_of_pods(server: StubServer) -> None:
    start(server, "web", "one", "two")
    lines = [line.split() for line in run(podwright(server, "top", "--sort", "name")).splitlines()]
    assert [line[0] for line in lines] == ["NAME", "test/web", "one", "two"]
    assert 24 < float(lines[2][1]) < 26, "between two samples, since the runtime gives no rate"
    assert 48 < float(lines[1][1]) < 52, "what the containers use together"
    assert lines[1][4:6] == ["10.5", "MB"]


def test_the_keys_of_top_work_while_the_runtime_does_not_answer(server: StubServer) -> None:
    start(server, "web", "one")
    with terminal(podwright(server, "top", "--interval", "0.1")) as screen:
        screen.see(b"test/web")
        server.hold("ListContainerStats")
        until(lambda: server.received[-1].path, lambda path: path.endswith("/ListContainerStats"))
        screen.type(b"q")
        assert screen.end() == 0


@pytest.mark.parametrize("interval", ["0", "x", "-1", "nan"])
def test_top_takes_no_odd_interval(server: StubServer, interval: str) -> None:
    assert "is no number of seconds" in run(podwright(server, "top", f"--interval={interval}"), 2)


def test_the_documentation_knows_all_commands_and_checks() -> None:
    commands = next(action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    described = (DOCS / "cli.md").read_text().partition("## top")[0]
    assert [name for name in commands.choices if f"`{name}" not in described] == []
    assert f"`podwright conformance` has {len(chosen([]))} checks" in (DOCS / "conformance.md").read_text()


def test_completion_in_bash(server: StubServer, tmp_path: Path) -> None:
    """A shell with the script, and `podwright` on its path."""
    start(server, "web", "one")
    program = tmp_path / "podwright"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m podwright "$@"\n')
    program.chmod(0o755)

    def completed(line: str) -> set[str]:
        words = line.split(" ")
        script = f'. <(podwright completion bash); COMP_WORDS=({" ".join(words)} ""); COMP_CWORD={len(words) - 1}; '
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PODWRIGHT_ENDPOINT": server.endpoint}
        return set(run(["bash", "-c", script + '_podwright; echo "${COMPREPLY[@]}"'], env=environment).split())

    assert completed("podwright to") == {"top"}
    assert completed("podwright do") == {"doctor"}
    assert {"start", "stats", "stop"} <= completed("podwright st")
    assert "--interval" in completed("podwright top --")
    assert completed("podwright top we") == {"web"}
    assert completed("podwright top te") == {"test/web/one"}
    assert completed("podwright -r /x update o") == {"one"}


def test_inspect_of_names_that_no_image_can_have(server: StubServer) -> None:
    start(server, "web", "Old_Name")
    server.fail("ImageStatus", Code.INVALID_ARGUMENT, "must be lower case")
    assert json.loads(run(podwright(server, "inspect", "web/Old_Name")))["kind"] == "container"
    assert 'no pod, container or image "Odd_Name"' in run(podwright(server, "inspect", "Odd_Name"), 3)


def test_lists_of_some(server: StubServer) -> None:
    start(server, "web", "one")
    start(server, "db", "two", labels={"app": "db", "tier": "back"})
    for command, web, db in (("pods", "web", "db"), ("ps", "one", "two")):

        def names(*arguments: str, command: str = command) -> set[str]:
            return {line.split()[0] for line in run(podwright(server, command, *arguments)).splitlines()[1:]}

        assert names() == names("-n", "test") == {web, db}
        assert names("-n", "other") == set()
        assert names("-l", "app=db") == names("-l", "app=db", "-l", "tier=back") == {db}
        assert names("-l", "app=db", "-l", "tier=front") == names("-l", "app=") == set()
        assert names("-l", "app") == {db}


@pytest.mark.parametrize("command", ["ps", "stats", "top", "doctor", "events", "version"])
def test_commands_that_people_wait_for_bring_nothing_heavy_along(command: str) -> None:
    ours = {"podwright.multiplex", "podwright.pods", "podwright.conformance"}
    heavy = {"yaml", "rich", "websockets", "msgspec", "urllib3", "h11"} | ours
    words = [sys.executable, "-X", "importtime", "-m", "podwright", command, "-r", "/nowhere.sock"]
    done = subprocess.run(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, check=False)
    brought = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "podwright.client" in brought
    assert brought & heavy == set()


def test_logs_of_the_attempt_before(server: StubServer, tmp_path: Path) -> None:
    pod = v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name="web", namespace="test", uid="1"), log_directory=str(tmp_path)
    )
    with Client(server.endpoint) as cri:
        sandbox = cri.run_pod_sandbox(pod).pod_sandbox_id
        for attempt in range(3):
            container = v1.ContainerConfig(
                metadata=v1.ContainerMetadata(name="c", attempt=attempt),
                image=v1.ImageSpec(image="busybox:1"),
                command=["echo", f"attempt {attempt}"],
                log_path=f"{attempt}.log",
            )
            cri.start_container(cri.create_container(sandbox, container, sandbox_config=pod).container_id)
    assert run(podwright(server, "logs", "web/c")) == "attempt 2\n"
    assert run(podwright(server, "logs", "--previous", "web")) == "attempt 1\n"
    start(server, "new", "first")
    assert "no earlier attempt" in run(podwright(server, "logs", "-p", "first"), 3)


def test_info_shows_what_it_can(server: StubServer) -> None:
    server.runtime.network_ready = False
    table = [line.split() for line in run(podwright(server, "info")).splitlines()]
    assert table[0] == ["stub", "1.2.3,", "cgroups", "by", "cgroupfs"]
    assert ["RuntimeReady", "yes", "-"] in table
    assert ["NetworkReady", "no", "-"] in table
    assert ["images", "1", "MB", "0", "/var/lib/stub"] in table
    told = json.loads(run(podwright(server, "info", "-o", "json")))
    assert told["cgroupDriver"] == "cgroupfs"
    assert told["imageFilesystems"][0]["usedBytes"] == {"value": 1_000_000}
    server.fail("ImageFsInfo", Code.INTERNAL, "its disk is gone")
    assert "RuntimeReady" in run(podwright(server, "info"), 4), "the rest is of use without disks"
