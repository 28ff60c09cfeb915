"""Debian's registry, and skopeo to fill it."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

_CONFIG = """
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage:
  filesystem: {{ rootdirectory: {directory} }}
http: {{ addr: "127.0.0.1:{port}", secret: test }}
"""


@contextlib.contextmanager
def docker_registry(directory: Path) -> Iterator[str]:
    """Runs one for a `with` block; gives its host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = directory / "config.yml"
    config.write_text(_CONFIG.format(directory=directory, port=port))
    with open(directory / "log", "wb") as log:
        server = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
    try:
        _wait(port)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _wait(port: int) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)  # it tells nobody when it is ready
    raise AssertionError("docker-registry did not come up")


class Skopeo:
    """Copies images into a registry."""

    def __init__(self, registry: str) -> None:
        self.registry = registry

    def copy(self, source: str, name: str, *options: str) -> str:
        """Copies an image; returns its reference."""
        target = f"{self.registry}/{name}"
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", *options]
        done = subprocess.run([*command, source, f"docker://{target}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return target
