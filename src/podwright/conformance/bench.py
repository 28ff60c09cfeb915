"""What checks work with: pods and containers that are gone when the check has ended."""

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podwright.client import Client
from podwright.cri import v1
from podwright.errors import NotFound, PodwrightError

NAMESPACE = "podwright-conformance"
SLEEP = ("sh", "-c", "trap 'exit 0' TERM; sleep 10000 & wait")
"""Ends at once when it is told to, as process 1 does only if it asks for the signal."""


class Bench:
    """A runtime under test, and what one check has made on it."""

    def __init__(self, cri: Client, image: str, cgroup_parent: str) -> None:
        self.cri = cri
        self.image = image
        """An image with a shell, on the node already."""
        self.cgroup_parent = cgroup_parent
        self._pods: list[str] = []
        self.directory = Path(tempfile.mkdtemp(prefix="podwright-conformance-"))
        """For logs and volumes; goes with the check."""

    def pod_config(self, **fields: Any) -> v1.PodSandboxConfig:  # noqa: ANN401  fields of the message
        """The configuration of a new pod with a network and a PID namespace for each container, as kubelets ask."""
        security = v1.LinuxSandboxSecurityContext(namespace_options=v1.NamespaceOption(pid=v1.CONTAINER))
        uid = str(uuid.uuid4())
        config = v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name=f"pod-{uid[:8]}", namespace=NAMESPACE, uid=uid),
            hostname="conformance",
            log_directory=str(self.directory / "logs"),
            labels={"io.kubernetes.pod.uid": uid},
            linux=v1.LinuxPodSandboxConfig(cgroup_parent=self.cgroup_parent, security_context=security),
        )
        config.MergeFrom(v1.PodSandboxConfig(**fields))
        return config

    def pod(self, config: v1.PodSandboxConfig | None = None, **fields: Any) -> str:  # noqa: ANN401  as above
        """Runs a pod; returns its id."""
        pod_id = self.cri.run_pod_sandbox(config or self.pod_config(**fields)).pod_sandbox_id
        self._pods.append(pod_id)
        return pod_id

    def container_config(self, *command: str, name: str = "main", **fields: Any) -> v1.ContainerConfig:  # noqa: ANN401
        """The configuration of a container that runs `command`, or sleeps."""
        security = v1.LinuxContainerSecurityContext(namespace_options=v1.NamespaceOption(pid=v1.CONTAINER))
        config = v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name=name),
            image=v1.ImageSpec(image=self.image),
            command=command or SLEEP,
            log_path=f"{name}.log",
            labels={"conformance": name},
            linux=v1.LinuxContainerConfig(security_context=security),
        )
        config.MergeFrom(v1.ContainerConfig(**fields))
        return config

    def create(self, pod_id: str, *command: str, **fields: Any) -> str:  # noqa: ANN401  fields of ContainerConfig
        """Makes a container; returns its id."""
        config = self.container_config(*command, **fields)
        return self.cri.create_container(pod_id, config, sandbox_config=self.pod_config()).container_id

    def start(self, pod_id: str, *command: str, **fields: Any) -> str:  # noqa: ANN401  fields of ContainerConfig
        """Makes a container and runs its command; returns its id."""
        container_id = self.create(pod_id, *command, **fields)
        self.cri.start_container(container_id)
        return container_id

    def run(self, pod_id: str, *command: str, **fields: Any) -> v1.ContainerStatus:  # noqa: ANN401  the same
        """Runs a container to its end; returns its last status."""
        container_id = self.start(pod_id, *command, **fields)
        self.wait("the container has exited", lambda: self.status(container_id).state == v1.CONTAINER_EXITED)
        return self.status(container_id)

    def status(self, container_id: str) -> v1.ContainerStatus:
        """The status of a container."""
        return self.cri.container_status(container_id).status

    def shell(self, container_id: str, script: str) -> str:
        """What a script in the container prints."""
        return self.cri.exec_sync(container_id, ["sh", "-c", script], timeout=30).stdout.decode(errors="replace")

    def log(self, status: v1.ContainerStatus) -> list[str]:
        """The lines of a container's log, as the runtime has written them."""
        return Path(status.log_path).read_text(encoding="utf-8").splitlines()

    def wait(self, what: str, true: Callable[[], object], seconds: float = 30) -> None:
        """Waits until something is so; a runtime tells nobody. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {seconds:g} seconds")
            time.sleep(0.05)

    def listed(self, pod_id: str) -> Sequence[v1.Container]:
        """The containers of a pod, as the list has them."""
        return self.cri.list_containers(v1.ContainerFilter(pod_sandbox_id=pod_id)).containers

    def close(self) -> list[str]:
        """Removes what was made; says what cannot be removed, and why."""
        left = []
        for pod_id in self._pods:
            for remove in (self.cri.stop_pod_sandbox, self.cri.remove_pod_sandbox):
                try:
                    remove(pod_id)
                except NotFound:  # a fault of its own, which has its own check
                    continue
                except PodwrightError as error:
                    left.append(f"pod {pod_id[:13]}: {error}")
        shutil.rmtree(self.directory, ignore_errors=True)
        return left
