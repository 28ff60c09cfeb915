"""A CRI runtime in memory: pods, containers and images with behaviour, and no process behind any of it.

Owns the state and the meaning of the RPCs, one method each, named as the RPC; cri_server.py puts it behind gRPC.
What is not here is unimplemented. Containers obey a few commands, so that whoever starts them sees them act:

    echo WORD…    writes a line and exits with 0
    fail CODE     writes a line to stderr and exits with CODE
    anything else runs until it is stopped

Tests make a running container speak and end by `write` and `exit`. Logs are real files in the CRI log format.
"""

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from podwright.clock import now_ns
from podwright.cri import v1
from podwright.errors import AlreadyExists, DeadlineExceeded, FailedPrecondition, InvalidArgument, NotFound
from podwright.ids import new_id

Object = TypeVar("Object")


@dataclass(slots=True)
class Sandbox:
    """A sandbox, as it was asked for and as it is."""

    config: v1.PodSandboxConfig
    status: v1.PodSandboxStatus


@dataclass(slots=True)
class Container:
    """A container, as it was asked for and as it is."""

    config: v1.ContainerConfig
    sandbox: Sandbox
    status: v1.ContainerStatus
    log: int = -1
    """File descriptor of the log while it runs, or -1."""


@dataclass(slots=True)
class StubRuntime:
    """The state of the runtime; it outlives the servers that give access to it."""

    name: str = "stub"
    network_ready: bool = True
    image_mount: str = "/var/lib/stub"
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    images: dict[str, v1.Image] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _changed: threading.Condition = field(init=False)
    _events: list[v1.ContainerEventResponse] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition(self._lock)

    # ---- what tests do to it

    def add_image(self, name: str, *, size: int = 1_000_000, user: str = "") -> v1.Image:
        """Puts an image on the node."""
        image = v1.Image(id=f"sha256:{new_id()}", repo_tags=[name], size=size)
        if user.isdigit():
            image.uid.value = int(user)
        else:
            image.username = user
        self.images[image.id] = image
        return image

    def write(self, container_id: str, text: str, stream: str = "stdout", *, partial: bool = False) -> None:
        """Lets a running container write a line."""
        with self._lock:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 10**9:09d}Z"
            container = self._container(container_id)
            if container.log >= 0:
                os.write(container.log, f"{stamp} {stream} {'P' if partial else 'F'} {text}\n".encode())

    def exit(self, container_id: str, code: int, reason: str = "") -> None:
        """Ends a running container."""
        with self._lock:
            container = self._container(container_id)
            status = container.status
            if status.state != v1.CONTAINER_RUNNING:
                return
            status.state, status.finished_at, status.exit_code = v1.CONTAINER_EXITED, now_ns(), code
            status.reason = reason or ("Completed" if code == 0 else "Error")
            if container.log >= 0:
                os.close(container.log)
                container.log = -1
            self._happened(container, v1.CONTAINER_STOPPED_EVENT)

    def close(self) -> None:
        """Closes the logs of what still runs."""
        for container_id in list(self.containers):
            self.exit(container_id, 137)

    # ---- sandboxes

    def RunPodSandbox(self, request: v1.RunPodSandboxRequest) -> v1.RunPodSandboxResponse:
        with self._lock:
            wanted = request.config.metadata
            if not wanted.name:
                raise InvalidArgument("config.metadata.name is empty")
            if any(sandbox.status.metadata == wanted for sandbox in self.sandboxes.values()):
                raise AlreadyExists(f'sandbox "{wanted.name}" exists')
            status = v1.PodSandboxStatus(
                id=new_id(),
                metadata=wanted,
                created_at=now_ns(),
                network=v1.PodSandboxNetworkStatus(ip=f"10.0.0.{len(self.sandboxes) + 2}"),
                labels=request.config.labels,
                annotations=request.config.annotations,
                runtime_handler=request.runtime_handler,
            )
            self.sandboxes[status.id] = Sandbox(request.config, status)
            return v1.RunPodSandboxResponse(pod_sandbox_id=status.id)

    def StopPodSandbox(self, request: v1.StopPodSandboxRequest) -> v1.StopPodSandboxResponse:
        with self._lock:
            for container in self._members(request.pod_sandbox_id):
                self.exit(container.status.id, 137)
            if sandbox := self.sandboxes.get(request.pod_sandbox_id):
                sandbox.status.state = v1.SANDBOX_NOTREADY
            return v1.StopPodSandboxResponse()

    def RemovePodSandbox(self, request: v1.RemovePodSandboxRequest) -> v1.RemovePodSandboxResponse:
        with self._lock:
            self.StopPodSandbox(v1.StopPodSandboxRequest(pod_sandbox_id=request.pod_sandbox_id))
            for container in self._members(request.pod_sandbox_id):
                del self.containers[container.status.id]
            self.sandboxes.pop(request.pod_sandbox_id, None)
            return v1.RemovePodSandboxResponse()

    def PodSandboxStatus(self, request: v1.PodSandboxStatusRequest) -> v1.PodSandboxStatusResponse:
        with self._lock:
            status = self._sandbox(request.pod_sandbox_id).status
            return v1.PodSandboxStatusResponse(status=status, info={"info": '{"pid":42}'} if request.verbose else {})

    def ListPodSandbox(self, request: v1.ListPodSandboxRequest) -> v1.ListPodSandboxResponse:
        with self._lock:
            wanted = request.filter
            return v1.ListPodSandboxResponse(
                items=[
                    _listed_sandbox(sandbox.status)
                    for sandbox in self.sandboxes.values()
                    if sandbox.status.id.startswith(wanted.id)
                    and (not wanted.HasField("state") or sandbox.status.state == wanted.state.state)
                    and _matches(wanted.label_selector, sandbox.status.labels)
                ]
            )

    # ---- containers

    def CreateContainer(self, request: v1.CreateContainerRequest) -> v1.CreateContainerResponse:
        with self._lock:
            sandbox, config = self._sandbox(request.pod_sandbox_id), request.config
            image = self._image(config.image.image)
            if image is None:
                raise NotFound(f'image "{config.image.image}" not found')
            log_path = os.path.join(sandbox.config.log_directory, config.log_path) if config.log_path else ""
            status = v1.ContainerStatus(
                id=new_id(),
                metadata=config.metadata,
                created_at=now_ns(),
                image=config.image,
                image_ref=image.id,
                labels=config.labels,
                annotations=config.annotations,
                mounts=config.mounts,
                log_path=log_path,
            )
            container = Container(config, sandbox, status)
            self.containers[status.id] = container
            self._happened(container, v1.CONTAINER_CREATED_EVENT)
            return v1.CreateContainerResponse(container_id=status.id)

    def StartContainer(self, request: v1.StartContainerRequest) -> v1.StartContainerResponse:
        with self._lock:
            container = self._container(request.container_id)
            if container.status.state != v1.CONTAINER_CREATED:
                raise FailedPrecondition(f'container "{request.container_id}" is not in the state CREATED')
            container.status.state, container.status.started_at = v1.CONTAINER_RUNNING, now_ns()
            self._open_log(container)
            self._happened(container, v1.CONTAINER_STARTED_EVENT)
            match [*container.config.command, *container.config.args]:
                case ["echo", *words]:
                    self.write(request.container_id, " ".join(words))
                    self.exit(request.container_id, 0)
                case ["fail", code]:
                    self.write(request.container_id, f"failing with {code}", "stderr")
                    self.exit(request.container_id, int(code))
            return v1.StartContainerResponse()

    def StopContainer(self, request: v1.StopContainerRequest) -> v1.StopContainerResponse:
        if request.container_id in self.containers:
            self.exit(request.container_id, 143 if request.timeout else 137)
        return v1.StopContainerResponse()

    def RemoveContainer(self, request: v1.RemoveContainerRequest) -> v1.RemoveContainerResponse:
        with self._lock:
            if request.container_id in self.containers:
                self.exit(request.container_id, 137)
                self._happened(self.containers.pop(request.container_id), v1.CONTAINER_DELETED_EVENT)
            return v1.RemoveContainerResponse()

    def ListContainers(self, request: v1.ListContainersRequest) -> v1.ListContainersResponse:
        with self._lock:
            wanted = request.filter
            return v1.ListContainersResponse(
                containers=[
                    _listed_container(container)
                    for container in self.containers.values()
                    if container.status.id.startswith(wanted.id)
                    and container.sandbox.status.id.startswith(wanted.pod_sandbox_id)
                    and (not wanted.HasField("state") or container.status.state == wanted.state.state)
                    and _matches(wanted.label_selector, container.status.labels)
                ]
            )

    def ContainerStatus(self, request: v1.ContainerStatusRequest) -> v1.ContainerStatusResponse:
        with self._lock:
            status = self._container(request.container_id).status
            return v1.ContainerStatusResponse(status=status, info={"info": '{"pid":43}'} if request.verbose else {})

    def ReopenContainerLog(self, request: v1.ReopenContainerLogRequest) -> v1.ReopenContainerLogResponse:
        with self._lock:
            container = self._container(request.container_id)
            if container.status.state != v1.CONTAINER_RUNNING:
                raise FailedPrecondition(f'container "{request.container_id}" is not running')
            self._open_log(container)
            return v1.ReopenContainerLogResponse()

    def ExecSync(self, request: v1.ExecSyncRequest) -> v1.ExecSyncResponse:
        container = self._container(request.container_id)
        if container.status.state != v1.CONTAINER_RUNNING:
            raise FailedPrecondition(f'container "{request.container_id}" is not running')
        match list(request.cmd):
            case ["echo", *words]:
                return v1.ExecSyncResponse(stdout=" ".join(words).encode() + b"\n")
            case ["fail", code]:
                return v1.ExecSyncResponse(stderr=f"failing with {code}\n".encode(), exit_code=int(code))
            case ["sleep", seconds] if 0 < request.timeout < int(seconds):
                raise DeadlineExceeded(f"command timed out after {request.timeout} seconds")
        return v1.ExecSyncResponse()

    def ListContainerStats(self, request: v1.ListContainerStatsRequest) -> v1.ListContainerStatsResponse:
        with self._lock:
            return v1.ListContainerStatsResponse(
                stats=[
                    _stats(container.status)
                    for container in self.containers.values()
                    if container.status.state == v1.CONTAINER_RUNNING
                    and container.status.id.startswith(request.filter.id)
                ]
            )

    # ---- images

    def ListImages(self, request: v1.ListImagesRequest) -> v1.ListImagesResponse:
        wanted = request.filter.image.image
        images = [self._image(wanted)] if wanted else list(self.images.values())
        return v1.ListImagesResponse(images=[image for image in images if image])

    def ImageStatus(self, request: v1.ImageStatusRequest) -> v1.ImageStatusResponse:
        return v1.ImageStatusResponse(image=self._image(request.image.image))

    def PullImage(self, request: v1.PullImageRequest) -> v1.PullImageResponse:
        name = request.image.image
        if "missing" in name:
            raise NotFound(f'no image "{name}" in its registry')
        image = self._image(name) or self.add_image(name)
        return v1.PullImageResponse(image_ref=image.id)

    def RemoveImage(self, request: v1.RemoveImageRequest) -> v1.RemoveImageResponse:
        if image := self._image(request.image.image):
            del self.images[image.id]
        return v1.RemoveImageResponse()

    def ImageFsInfo(self, _request: v1.ImageFsInfoRequest) -> v1.ImageFsInfoResponse:
        usage = v1.FilesystemUsage(
            fs_id=v1.FilesystemIdentifier(mountpoint=self.image_mount),
            used_bytes=v1.UInt64Value(value=sum(image.size for image in self.images.values())),
        )
        return v1.ImageFsInfoResponse(image_filesystems=[usage])

    # ---- the runtime itself

    def Status(self, _request: v1.StatusRequest) -> v1.StatusResponse:
        conditions = [
            v1.RuntimeCondition(type="RuntimeReady", status=True),
            v1.RuntimeCondition(type="NetworkReady", status=self.network_ready),
        ]
        return v1.StatusResponse(status=v1.RuntimeStatus(conditions=conditions))

    def RuntimeConfig(self, _request: v1.RuntimeConfigRequest) -> v1.RuntimeConfigResponse:
        return v1.RuntimeConfigResponse(linux=v1.LinuxRuntimeConfiguration(cgroup_driver=v1.CGROUPFS))

    def StreamContainers(self, request: v1.StreamContainersRequest) -> Iterable[v1.StreamContainersResponse]:
        for container in self.ListContainers(v1.ListContainersRequest(filter=request.filter)).containers:
            yield v1.StreamContainersResponse(containers=[container])

    def GetContainerEvents(self, _request: v1.GetEventsRequest) -> Iterator[v1.ContainerEventResponse | None]:
        """All that has happened and what will; None now and then, for the server to see whether anybody listens."""
        seen = 0
        while True:
            with self._changed:
                if len(self._events) == seen:
                    self._changed.wait(timeout=0.05)
                events, seen = self._events[seen:], len(self._events)
            yield from events
            if not events:
                yield None

    def _happened(self, container: Container, kind: v1.ContainerEventType) -> None:
        event = v1.ContainerEventResponse(
            container_id=container.status.id,
            container_event_type=kind,
            created_at=now_ns(),
            pod_sandbox_status=container.sandbox.status,
            containers_statuses=[container.status],
        )
        self._events.append(event)
        self._changed.notify_all()

    def _open_log(self, container: Container) -> None:
        if not container.status.log_path:
            return
        os.makedirs(os.path.dirname(container.status.log_path), exist_ok=True)
        if container.log >= 0:
            os.close(container.log)
        container.log = os.open(container.status.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def _members(self, sandbox_id: str) -> list[Container]:
        return [container for container in self.containers.values() if container.sandbox.status.id == sandbox_id]

    def _sandbox(self, sandbox_id: str) -> Sandbox:
        return _find(self.sandboxes, sandbox_id, "sandbox")

    def _container(self, container_id: str) -> Container:
        return _find(self.containers, container_id, "container")

    def _image(self, name: str) -> v1.Image | None:
        for image in self.images.values():
            if image.id == name or image.id.removeprefix("sha256:").startswith(name) or name in image.repo_tags:
                return image
        return None


def _find(objects: Mapping[str, Object], object_id: str, kind: str) -> Object:
    if object_id not in objects:
        raise NotFound(f'{kind} "{object_id}" not found')
    return objects[object_id]


def _matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def _listed_sandbox(status: v1.PodSandboxStatus) -> v1.PodSandbox:
    return v1.PodSandbox(
        id=status.id,
        metadata=status.metadata,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
        runtime_handler=status.runtime_handler,
    )


def _listed_container(container: Container) -> v1.Container:
    status = container.status
    return v1.Container(
        id=status.id,
        pod_sandbox_id=container.sandbox.status.id,
        metadata=status.metadata,
        image=status.image,
        image_ref=status.image_ref,
        state=status.state,
        created_at=status.created_at,
        labels=status.labels,
        annotations=status.annotations,
    )


def _stats(status: v1.ContainerStatus) -> v1.ContainerStats:
    """A quarter of a CPU, five mebibytes of memory."""
    now = now_ns()
    return v1.ContainerStats(
        attributes=v1.ContainerAttributes(id=status.id, metadata=status.metadata, labels=status.labels),
        cpu=v1.CpuUsage(timestamp=now, usage_core_nano_seconds=v1.UInt64Value(value=(now - status.started_at) // 4)),
        memory=v1.MemoryUsage(timestamp=now, working_set_bytes=v1.UInt64Value(value=5 << 20)),
        writable_layer=v1.FilesystemUsage(timestamp=now, used_bytes=v1.UInt64Value(value=4096)),
    )
