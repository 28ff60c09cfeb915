"""Pods on a test node, through the daemon's socket: short ways to ask for them, and to wait for what happens."""

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import grpc

from podwright.client import Client
from podwright.control import methods as control_methods
from podwright.control import v1 as control
from podwright.cri import v1
from support.node import Node

T = TypeVar("T")

IMAGE = "test.local/busybox:1"
BUSYBOX = "/bin/busybox"
PASSWD = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n"
GROUP = "root:x:0:\nalice:x:1001:\nstaff:x:50:alice\nwheel:x:60:root\n"

_numbers = itertools.count(1)


class Pods:
    """A client of a node's daemon that knows how to make pods of the test image."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cri = Client(f"unix://{node.socket}")

    def close(self) -> None:
        """Ends the connection."""
        self.cri.close()

    # images

    def load_image(self, name: str = IMAGE, **config: Any) -> str:
        """Loads an image of busybox with these fields in its configuration; returns its id."""
        rootfs = self.node.directory / "rootfs"
        if not rootfs.exists():
            make_rootfs(rootfs)
        document = {"config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **config}}
        method = control_methods.METHODS["LoadImage"]
        with grpc.insecure_channel(f"unix:{self.node.socket}") as channel:
            load = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
            request = control.LoadImageRequest(path=str(rootfs), name=name, config=json.dumps(document).encode())
            answer = load(request, timeout=60)
        assert isinstance(answer, control.LoadImageResponse)
        (image_id,) = answer.image_ids
        return image_id

    # sandboxes

    def sandbox_config(self, name: str = "", **fields: Any) -> v1.PodSandboxConfig:
        """A sandbox's configuration; by default with a name of its own and without a network, which is quicker."""
        name = name or f"pod-{next(_numbers)}"
        defaults: dict[str, Any] = {
            "metadata": v1.PodSandboxMetadata(name=name, namespace="test", uid=f"uid-{name}"),
            "linux": v1.LinuxPodSandboxConfig(security_context=host_network()),
            "log_directory": str(self.node.directory / "logs" / name),
        }
        return v1.PodSandboxConfig(**{**defaults, **fields})

    def networked_config(self, name: str = "", **fields: Any) -> v1.PodSandboxConfig:
        """A sandbox's configuration, with all namespaces of its own."""
        return self.sandbox_config(name, **{"linux": v1.LinuxPodSandboxConfig(), "hostname": "pod-host", **fields})

    def run_sandbox(self, config: v1.PodSandboxConfig | None = None, handler: str = "") -> str:
        """Makes a sandbox; returns its id."""
        return self.cri.run_pod_sandbox(config or self.sandbox_config(), runtime_handler=handler).pod_sandbox_id

    def sandbox(self, sandbox_id: str) -> v1.PodSandboxStatus:
        """The status of a sandbox."""
        return self.cri.pod_sandbox_status(sandbox_id).status

    def config_of(self, sandbox_id: str) -> v1.PodSandboxConfig:
        """As much of a sandbox's configuration as clients repeat in CreateContainer."""
        return v1.PodSandboxConfig(metadata=self.sandbox(sandbox_id).metadata)

    # containers

    def container_config(self, script: str = "sleep 1000", name: str = "", **fields: Any) -> v1.ContainerConfig:
        """A container that runs a shell script and logs it."""
        name = name or f"c-{next(_numbers)}"
        defaults: dict[str, Any] = {
            "metadata": v1.ContainerMetadata(name=name),
            "image": v1.ImageSpec(image=IMAGE),
            "command": ["sh", "-c", script],
            "log_path": f"{name}.log",
            "linux": secured(),
        }
        return v1.ContainerConfig(**{**defaults, **fields})

    def create(self, sandbox_id: str, config: v1.ContainerConfig | str = "sleep 1000", **fields: Any) -> str:
        """Makes a container, of a configuration or a script; returns its id."""
        if isinstance(config, str):
            config = self.container_config(config, **fields)
        return self.cri.create_container(sandbox_id, config, sandbox_config=self.config_of(sandbox_id)).container_id

    def start(self, sandbox_id: str, config: v1.ContainerConfig | str = "sleep 1000", **fields: Any) -> str:
        """Makes and starts a container; returns its id."""
        container_id = self.create(sandbox_id, config, **fields)
        self.cri.start_container(container_id)
        return container_id

    def status(self, container_id: str) -> v1.ContainerStatus:
        """The status of a container."""
        return self.cri.container_status(container_id).status

    def info(self, container_id: str) -> Any:
        """The verbose part of a container's status."""
        return json.loads(self.cri.container_status(container_id, verbose=True).info["info"])

    def exited(self, container_id: str, seconds: float = 20) -> v1.ContainerStatus:
        """Waits for a container's end; returns its status then."""
        return until(
            lambda: self.status(container_id), lambda status: status.state == v1.CONTAINER_EXITED, seconds=seconds
        )

    def run(self, sandbox_id: str, config: v1.ContainerConfig | str, **fields: Any) -> tuple[int, str]:
        """Runs a container to its end; returns its exit code and what it wrote."""
        container_id = self.start(sandbox_id, config, **fields)
        return self.exited(container_id).exit_code, self.output(container_id)

    def output(self, container_id: str) -> str:
        """What a container has written so far, both streams."""
        log = Path(self.status(container_id).log_path).read_bytes()
        return b"".join(
            fields[3] + (b"" if fields[2] == b"P" else b"\n")
            for fields in (line.split(b" ", 3) for line in log.splitlines())
        ).decode(errors="replace")

    def says(self, container_id: str, text: str, seconds: float = 20) -> None:
        """Waits until a container has written `text`."""
        until(lambda: self.output(container_id), lambda output: text in output, seconds=seconds)

    def exec(self, container_id: str, script: str, timeout: int = 20) -> str:
        """What a shell script in a container writes to stdout; it must succeed."""
        done = self.cri.exec_sync(container_id, ["sh", "-c", script], timeout=timeout)
        assert done.exit_code == 0, f"{script}: {done.exit_code}: {done.stderr.decode()}"
        return done.stdout.decode()

    def proc(self, container_id: str) -> Path:
        """The directory in /proc, as the node sees it, of a container's first process."""
        return Path(f"/proc/{self.node.holder}/root/proc/{self.info(container_id)['pid']}")

    def warm_up(self) -> None:
        """Loads the image, and has pods come and go: the first ones make the bridge, the chains for port mappings, and
        the directories of the OCI runtimes.
        """
        self.load_image()
        mapping = v1.PortMapping(container_port=80, host_port=18080)
        self.run_sandbox(self.networked_config(port_mappings=[mapping]))
        for handler in ("crun", "runc"):
            self.start(self.run_sandbox(handler=handler))
        self.remove_all()

    def remove_all(self) -> None:
        """Removes all sandboxes with all that is in them."""
        for sandbox in self.cri.list_pod_sandbox().items:
            self.cri.remove_pod_sandbox(sandbox.id)


def host_network(*, pid: v1.NamespaceMode = v1.CONTAINER, **fields: Any) -> v1.LinuxSandboxSecurityContext:
    """The security context of a sandbox with the host's network and `fields`."""
    options = v1.NamespaceOption(network=v1.NODE, pid=pid)
    return v1.LinuxSandboxSecurityContext(namespace_options=options, **fields)


def secured(**fields: Any) -> v1.LinuxContainerConfig:
    """A container's Linux part with these fields in its security context."""
    options = fields.pop("namespace_options", v1.NamespaceOption(pid=v1.CONTAINER))
    return v1.LinuxContainerConfig(
        security_context=v1.LinuxContainerSecurityContext(namespace_options=options, **fields)
    )


def until(look: Callable[[], T], good: Callable[[T], Any], *, seconds: float = 20) -> T:
    """Looks until it is good; for what no event tells of."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if good(seen):
            return seen
        assert time.monotonic() < deadline, f"after {seconds} seconds still: {seen}"
        time.sleep(0.02)


def make_rootfs(directory: Path) -> None:
    """A root file system of Debian's static busybox with all its applets."""
    for name in ("bin", "etc", "tmp", "root", "home/alice", "proc", "sys", "dev", "run", "var", "mnt"):
        (directory / name).mkdir(parents=True)
    (directory / "tmp").chmod(0o1777)
    os.chown(directory / "home/alice", 1000, 1001)
    subprocess.run(["cp", BUSYBOX, directory / "bin/busybox"], check=True)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            os.link(directory / "bin/busybox", directory / "bin" / applet)
    (directory / "etc/passwd").write_text(PASSWD)
    (directory / "etc/group").write_text(GROUP)
