"""The conformance suite: Podwright passes it, and a runtime that only pretends does not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from podwright.errors import Code
from podwright.testing.cri_server import StubServer
from support.cri import IMAGE, Pods

pytestmark = pytest.mark.root


def conformance(*arguments: str, into: list[str] | None = None) -> dict[str, Any]:
    """Runs the command, on the node that `into` enters; returns what it says."""
    command = [*(into or []), sys.executable, "-m", "podwright", "conformance", "-o", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode in (0, 1), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 1) == (report["failed"] > 0)
    return report


def test_podwright_passes(pods: Pods) -> None:
    endpoint = f"unix://{pods.node.socket}"
    report = conformance("-r", endpoint, "--image", IMAGE, into=pods.node.enter([]))
    wrong = [f"{one['check']}: {one['message']}" for one in report["results"] if one["outcome"] != "passed"]
    assert wrong == []
    assert report["passed"] > 60


def test_a_runtime_of_paper_does_not(tmp_path: Path) -> None:
    """The stand-in has states and codes, but no process behind them."""
    with StubServer(str(tmp_path / "cri.sock")) as server:
        server.runtime.add_image("busybox:1")
        report = conformance("-r", server.endpoint, "--image", "busybox:1", "ExecSync", "hostname", "VERSION answers")
    outcomes = {one["check"]: one["outcome"] for one in report["results"]}
    assert outcomes["Version answers 0.1.0 and four fields that are not empty"] == "passed"
    assert outcomes["ExecSync gives both streams and the exit code, apart"] == "failed"
    assert outcomes["Containers have the pod's hostname, in $HOSTNAME too, and its resolv.conf"] == "failed"


def test_what_a_check_leaves_behind_is_a_failure(tmp_path: Path) -> None:
    check = "StopPodSandbox may be repeated"
    with StubServer(str(tmp_path / "cri.sock")) as server:
        server.runtime.add_image("busybox:1")
        (result,) = conformance("-r", server.endpoint, "--image", "busybox:1", check)["results"]
        assert result["outcome"] == "passed"
        server.fail("RemovePodSandbox", Code.INTERNAL, "its mounts are busy")
        (result,) = conformance("-r", server.endpoint, "--image", "busybox:1", check)["results"]
    assert result["outcome"] == "failed"
    assert "cannot be removed" in result["message"]
    assert "its mounts are busy" in result["message"]
