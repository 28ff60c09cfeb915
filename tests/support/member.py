"""A node in a cluster, all without root: the agent as a process, a stub runtime, a stand-in for the API server."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from podwright.testing.cri_runtime import StubRuntime
from podwright.testing.cri_server import StubServer
from support.apiserver import ApiServer
from support.pki import Authority

NODE = "n1"


class Member:
    """The processes of a test. `node` is the agent, once started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority(directory / "pki")
        self.api = ApiServer(self.authority)
        self.runtime = StubRuntime()
        self.socket = str(directory / "cri.sock")
        self.log = directory / "node.log"
        self.port, self.open_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, joins: bool = True) -> None:
        """Starts the agent, in the cluster or alone; it may end by itself."""
        config = self.directory / "kubelet.yaml"
        config.write_text(
            f"""
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{x509: {{clientCAFile: {self.authority.directory}/ca.crt}}}}
containerRuntimeEndpoint: unix://{self.socket}
cgroupsPerQOS: false
address: 127.0.0.1
port: {self.port}
healthzPort: 0
readOnlyPort: {self.open_port}
nodeStatusUpdateFrequency: 500ms
podLogsDir: {self.directory}/log/pods
"""
        )
        command = [
            *(sys.executable, "-m", "podwright", "node", f"--config={config}", f"--hostname-override={NODE}"),
            *(f"--root-dir={self.directory}/kubelet", "--node-ip=127.0.0.1"),
            *([f"--kubeconfig={self.api.kubeconfig(f'system:node:{NODE}', 'system:nodes')}"] if joins else []),
            *flags,
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends the agent; its exit status."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        status = self.process.wait(timeout=60)
        self.process = None
        return status

    def until(self, reached: Callable[[], Any], what: str = "it does not happen", seconds: float = 60) -> Any:
        """Waits; the stand-in's objects can be looked at for nothing."""
        ends = time.monotonic() + seconds
        while not (result := reached()):
            if time.monotonic() > ends or (self.process is not None and self.process.poll() is not None):
                raise AssertionError(f"{what}\n{self.log.read_text()[-6000:]}")
            time.sleep(0.03)
        return result

    def shown(self) -> dict[str, dict[str, Any]]:
        """The pods that the node shows, by the names of their manifests; none while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.open_port}/pods", timeout=5) as answer:
                items = json.load(answer)["items"]
        except OSError:
            return {}
        return {item["metadata"]["name"].removesuffix(f"-{NODE}"): item for item in items}

    def pod_status(self, name: str) -> dict[str, Any]:
        """What the API server knows of a pod."""
        found: dict[str, Any] = (self.api.get("pods", name) or {}).get("status") or {}
        return found


@contextlib.contextmanager
def member(directory: Path, **server: Any) -> Iterator[Member]:
    """For a `with` block: runtime and API server run, the agent does not yet."""
    made = Member(directory)
    made.runtime.add_image("busybox:1")
    with StubServer(made.socket, made.runtime, **server), made.api:
        try:
            yield made
        finally:
            if made.process is not None:
                made.end()
            made.runtime.close()


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """The condition of a type; empty if it is not there."""
    return next((item for item in status.get("conditions", ()) if item["type"] == kind), {})


def free_port() -> int:
    """A port that nobody has now, below those that the kernel gives to connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def api_pod(name: str, **spec: Any) -> dict[str, Any]:
    """A pod as a scheduler leaves it."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": NODE,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "busybox:1", "command": ["run"]}],
            **spec,
        },
    }
