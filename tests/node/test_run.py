"""`podwright run` of the examples, on Podwright and on containerd; it shares podwright/pods with the node."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bench.peers import Peer
from support.kubelet import pod
from support.runtimes import KINDS, machine

pytestmark = [pytest.mark.root, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=KINDS)
def runtime(request: pytest.FixtureRequest) -> Iterator[Peer]:
    with machine(request.param) as made:
        yield made


def podwright(runtime: Peer, *words: str) -> tuple[int, str]:
    """Status and output of a command."""
    endpoint = f"unix://{runtime.socket}"
    command = [sys.executable, "-m", "podwright", "--runtime-endpoint", endpoint, *words]
    done = subprocess.run(
        runtime.machine.enter(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ("init", "prepared by init"),
        ("limits", "the root file system is read-only, as it should be"),
        ("volume", "good morning, number 3"),
    ],
)
def test_examples_that_end(runtime: Peer, example: str, said: str) -> None:
    directory = runtime.machine.directory / "run"
    file = str(ROOT / f"examples/{example}.yaml")
    status, output = podwright(runtime, "run", "--rm", "--directory", str(directory), file)
    assert status == 0, output
    assert said in output
    assert not list(directory.iterdir()), "nothing is left of the pod"


def test_an_example_that_goes_on(runtime: Peer) -> None:
    file = str(ROOT / "examples/hello.yaml")
    directory = str(runtime.machine.directory / "run")
    status, output = podwright(runtime, "run", "--detach", "--directory", directory, file)
    assert status == 0, output
    try:
        assert "hello" in podwright(runtime, "pods")[1]
        assert podwright(runtime, "run", "--detach", file)[0] != 0, "a second one of the same name"
    finally:
        status, output = podwright(runtime, "rm", "-f", "default/hello")
    assert status == 0, output


def test_the_status_is_the_containers(runtime: Peer, tmp_path: Path) -> None:
    file = tmp_path / "fails.yaml"
    file.write_text(yaml.safe_dump(pod("fails", "exit 7")))
    status, _ = podwright(runtime, "run", "--rm", "--directory", str(runtime.machine.directory / "run"), str(file))
    assert status == 7
