"""Sandboxes and containers as they are remembered.

A record has three parts: what the client asked for (config, a CRI message, never changed), what was settled when the
object was made (facts, never changed), and where it stands (status, a value that is replaced as a whole).

A sandbox:

    creating ──► ready ──► stopped ──► removing ──► (gone)
        │          │                      ▲
        └──────────┴──────────────────────┘

A container:

    creating ──► created ──► starting ──► running ──► exited ──► removing ──► (gone)
        │           └────────────┴───────────────────────▲          ▲
        └───────────────────────────────────────────────────────────┘

`creating` and `removing` objects are this daemon's business only: after a crash the former are undone and the latter
finished. One that has to be undone although it was made is `creating` again.
"""

import asyncio
from typing import Literal

import msgspec

from podwright.cri import v1
from podwright.kernel.process import Pid

SandboxPhase = Literal["creating", "ready", "stopped", "removing"]
ContainerPhase = Literal["creating", "created", "starting", "running", "exited", "removing"]


class SandboxFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was settled when the sandbox was made."""

    created_at: int
    """Nanoseconds since the epoch, as all times in records."""
    requested_handler: str
    """As asked for; empty for the default."""
    handler: str
    cgroup_parent: str
    """A cgroup path, or with the systemd driver the name of a slice."""
    cgroup_is_ours: bool
    """No client made the parent: it goes with the sandbox."""


class SandboxStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where the sandbox stands."""

    phase: SandboxPhase
    ips: tuple[str, ...] = ()
    """The primary one first; none with the host network."""
    infra: Pid | None = None
    """Process 1 of the PID namespace that the containers share, if they do."""
    restoring: bool = False
    """Its containers are being made out of a checkpoint: after a crash it is removed as if it were half-made."""
    resources: bytes = b""
    """A serialised UpdatePodSandboxResourcesRequest: the sums of the pod after its last resize; empty before."""


class ContainerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was settled when the container was made."""

    created_at: int
    handler: str
    image_id: str
    image_name: str
    """As the pod calls the image, made complete."""
    image_ref: str
    """Its digest in that repository; the id if it has none."""
    log_path: str
    """Absolute, or empty for no log."""
    stop_signal: int
    """As kill(2) takes it."""
    cri_stop_signal: int
    """As ContainerStatus shows it: a value of v1.Signal."""
    image_volumes: dict[int, str] = {}
    """Ids of images that are mounted as volumes, by their places among the mounts."""
    restores: bool = False
    """It was made of a checkpoint, so it has no process until it is started."""


class User(msgspec.Struct, frozen=True):
    """The ids that the first process begins with."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class ContainerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where the container stands."""

    phase: ContainerPhase
    process: Pid | None = None
    """Its first process, from `created` on; from `running` on if it was made of a checkpoint. None if there can be
    none.
    """
    refusal: str = ""
    """Why there can be none, by the OCI runtime's words; the start will fail with them."""
    monitor: Pid | None = None
    """Its conmon."""
    cgroup: str = ""
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    user: User | None = None
    resources: bytes = b""
    """A serialised LinuxContainerResources: the limits in force."""


class Sandbox:
    """A sandbox in memory. Only the index changes `status`."""

    __slots__ = (
        *("checkpoints", "config", "containers", "criu", "facts"),
        *("fetched", "id", "listed", "lock", "status"),
    )

    def __init__(
        self, sandbox_id: str, config: v1.PodSandboxConfig, facts: SandboxFacts, status: SandboxStatus
    ) -> None:
        self.id = sandbox_id
        self.config = config
        self.facts = facts
        self.status = status
        self.containers: dict[str, Container] = {}
        self.fetched = True
        """A client has been told the id. False for one that was made when its caller had left (core/operations.py)."""
        self.lock = asyncio.Lock()
        """Held by an operation that changes the sandbox."""
        self.checkpoints = 0
        """How many are under way."""
        self.criu = asyncio.Lock()
        """Held while criu works for one of the containers. It locks the network, which is common to all of them, by
        rules that have the same names each time: two at once would leave it locked.
        """
        self.listed: bytes | None = None
        """The sandbox as an item of ListPodSandboxResponse, serialised; None after a change."""

    @property
    def visible(self) -> bool:
        """Whether clients may see it: neither half made nor unknown to all of them."""
        return self.fetched and self.status.phase != "creating"

    @property
    def name(self) -> str:
        """Unique on a node."""
        return sandbox_name(self.config.metadata)

    @property
    def title(self) -> str:
        """For messages."""
        return f"{self.config.metadata.namespace}/{self.config.metadata.name} ({self.id[:13]})"


class Container:
    """A container in memory. Only the index changes `status`."""

    __slots__ = (
        *("checkpoints", "config", "exited", "facts", "fetched", "id"),
        *("listed", "lock", "sandbox", "status", "stopping", "thaw"),
    )

    def __init__(
        self,
        container_id: str,
        sandbox: Sandbox,
        config: v1.ContainerConfig,
        facts: ContainerFacts,
        status: ContainerStatus,
    ) -> None:
        self.id = container_id
        self.sandbox = sandbox
        self.config = config
        self.facts = facts
        self.status = status
        self.fetched = True
        """As with a sandbox."""
        self.lock = asyncio.Lock()
        """Held by an operation that changes the container. Nobody waits for its exit while holding it."""
        self.exited = asyncio.Event()
        """Set once `exited` is visible in the status."""
        self.stopping: Stopping | None = None
        self.checkpoints = 0
        """How many are under way, frozen or not."""
        self.thaw: asyncio.Event | None = None
        """Set when a checkpoint lets it run on; None if it is not frozen."""
        self.listed: bytes | None = None
        """The container as an item of ListContainersResponse, serialised; None after a change."""

    @property
    def visible(self) -> bool:
        """Whether clients may see it: neither half made nor unknown to all of them."""
        return self.fetched and self.status.phase != "creating"

    @property
    def name(self) -> str:
        """Unique on a node."""
        return container_name(self.config.metadata, self.sandbox)

    @property
    def title(self) -> str:
        """For messages."""
        pod = self.sandbox.config.metadata
        return f"{pod.namespace}/{pod.name}/{self.config.metadata.name} ({self.id[:13]})"


class Stopping:
    """A container on its way down: the moment of the kill, which later calls may bring forward."""

    __slots__ = ("deadline", "sooner", "task")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        """In the event loop's time."""
        self.sooner = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def shorten(self, deadline: float) -> None:
        """Brings the kill forward; never puts it off."""
        if deadline < self.deadline:
            self.deadline = deadline
            self.sooner.set()


def sandbox_name(metadata: v1.PodSandboxMetadata) -> str:
    """The unique name of a sandbox with this metadata."""
    return f"{metadata.name}_{metadata.namespace}_{metadata.uid}_{metadata.attempt}"


def container_name(metadata: v1.ContainerMetadata, sandbox: Sandbox) -> str:
    """The unique name of a container with this metadata in the sandbox."""
    return f"{metadata.name}_{metadata.attempt}_{sandbox.id}"
