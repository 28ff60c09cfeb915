"""`podwright node` on a test's machine: started there, fed with manifests, asked through its read-only port."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from bench.peers import Peer
from podwright.kernel import libc, mounts
from podwright.wire.cri_log import LogReader
from support.runtimes import IMAGE

PORT = 10255
Predicate = Callable[[dict[str, Any]], object]


class Kubelet:
    """The node agent of one machine."""

    def __init__(self, peer: Peer, *flags: str) -> None:
        self.runtime = peer.name
        self.endpoint = f"unix://{peer.socket}"
        self.machine = machine = peer.machine
        self.flags = flags
        self.manifests = machine.directory / "manifests"
        self.manifests.mkdir(exist_ok=True)
        self.root = machine.directory / "kubelet"
        self.logs = machine.directory / "log" / "pods"
        self.log = machine.directory / "node.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when the node answers."""
        command = [
            *(sys.executable, "-m", "podwright", "node"),
            f"--container-runtime-endpoint={self.endpoint}",
            f"--pod-manifest-path={self.manifests}",
            f"--root-dir={self.root}",
            f"--pod-logs-dir={self.logs}",
            f"--cgroup-root={self.machine.cgroup}",
            f"--read-only-port={PORT}",
            "--hostname-override=n1",
            *self.flags,
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.machine.enter(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.until(lambda: self.get("/healthz") == b"ok", "the node does not answer")

    @property
    def pid(self) -> int:
        """The agent's process number, outside."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0])

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it; returns its exit status."""
        assert self._process is not None
        with contextlib.suppress(IndexError, ProcessLookupError, FileNotFoundError):
            os.kill(self.pid, number)
        status = self._process.wait(timeout=30)
        self._process = None
        return status

    def put(self, name: str, *documents: dict[str, Any] | str) -> None:
        """Writes a manifest, all at once."""
        text = "---\n".join(item if isinstance(item, str) else yaml.safe_dump(item) for item in documents)
        temporary = self.manifests / f".{name}"
        temporary.write_text(text)
        temporary.rename(self.manifests / f"{name}.yaml")

    def drop(self, name: str) -> None:
        """Deletes a manifest."""
        (self.manifests / f"{name}.yaml").unlink()

    def get(self, path: str) -> bytes:
        """Asks the read-only port; empty if it does not answer."""

        def ask() -> bytes:
            with open(f"/proc/{self.machine.holder}/ns/net", "rb") as namespace:
                libc.setns(namespace.fileno(), 0)
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
            try:
                connection.request("GET", path)
                return connection.getresponse().read()
            except OSError:
                return b""
            finally:
                connection.close()

        return mounts.in_thread_of_its_own(ask)

    def pods(self) -> dict[str, dict[str, Any]]:
        """All pods by the names that their manifests give them."""
        items = json.loads(self.get("/pods") or b'{"items": []}')["items"]
        return {item["metadata"]["name"].removesuffix("-n1"): item for item in items}

    def status(self, name: str) -> dict[str, Any]:
        """A pod's status, empty if there is no such pod."""
        found: dict[str, Any] = self.pods().get(name, {}).get("status", {})
        return found

    def wait(self, name: str, wanted: str | Predicate, seconds: float = 60) -> dict[str, Any]:
        """Waits for a phase, or for what a predicate says of the status; returns the status."""
        last: dict[str, Any] = {}

        def reached() -> bool:
            nonlocal last
            last = self.status(name)
            return bool(last.get("phase") == wanted if isinstance(wanted, str) else last and wanted(last))

        self.until(reached, lambda: f"pod {name} is {json.dumps(last, indent=1)}", seconds)
        return last

    def gone(self, name: str, seconds: float = 60) -> None:
        """Waits until a pod is gone."""
        self.until(lambda: name not in self.pods(), f"pod {name} does not go", seconds)

    def until(self, reached: Callable[[], bool], failure: str | Callable[[], str], seconds: float = 60) -> None:
        """Asks again and again; the read-only port has no watch."""
        ends = time.monotonic() + seconds
        while not reached():
            assert self._process is None or self._process.poll() is None, (
                f"it has ended:\n{self.log.read_text()[-4000:]}"
            )
            if time.monotonic() > ends:
                text = failure if isinstance(failure, str) else failure()
                raise AssertionError(f"{text}\n{self.log.read_text()[-6000:]}")
            time.sleep(0.1)

    def output(self, name: str, container: str = "main", attempt: int = 0) -> str:
        """What a container of a pod has written."""
        found = self.pods()[name]
        directory = self.logs / "_".join(found["metadata"][key] for key in ("namespace", "name", "uid")) / container
        reader = LogReader()
        entries = [*reader.receive((directory / f"{attempt}.log").read_bytes()), *reader.finish()]
        return "\n".join(entry.text.decode() for entry in entries)


def pod(name: str, script: str = "", *, spec: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    """A pod of one container "main" that runs a shell script, and no grace for it to end."""
    main: dict[str, Any] = {"name": "main", "image": IMAGE}
    if script:
        main["command"] = ["sh", "-c", script]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "containers": [main | container],
            **(spec or {}),
        },
    }


def main_status(status: dict[str, Any], container: str = "main") -> dict[str, Any]:
    """The status of one container."""
    found: dict[str, Any] = next(item for item in status["containerStatuses"] if item["name"] == container)
    return found


def condition(status: dict[str, Any], kind: str) -> str:
    """The status of a condition."""
    found: str = next(item["status"] for item in status["conditions"] if item["type"] == kind)
    return found
