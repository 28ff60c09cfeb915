"""The commands on the stub runtime, as people type them; what needs a real node is tested in tests/cri."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.client import Client
from podwright.cri import v1
from podwright.testing.cri_server import StubServer
from support.cri import until
from support.terminal import terminal


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StubServer]:
    with StubServer(str(tmp_path / "cri.sock")) as running:
        running.runtime.add_image("busybox:1")
        yield running
        running.runtime.close()


def podwright(server: StubServer, command: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "podwright", command, "-r", server.endpoint, *arguments]


def run(command: list[str], status: int = 0) -> str:
    """What the command prints on stdout and stderr."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def start(server: StubServer, pod: str, *containers: str) -> list[str]:
    """A pod with running containers; returns their ids."""
    config = v1.PodSandboxConfig(metadata=v1.PodSandboxMetadata(name=pod, namespace="test", uid=pod))
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
