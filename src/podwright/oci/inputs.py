"""What the specification of a container is made from, besides the CRI messages.

Plain values. Who finds them out: host.py this host, features.py the OCI runtime, core/ everything else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from podwright.cri import v1
from podwright.kernel.namespaces import IdMapping, Kind


class ImageConfig(Protocol):
    """What the configuration of an image says about running it (OCI image specification, config.md)."""

    @property
    def entrypoint(self) -> Sequence[str]: ...
    @property
    def cmd(self) -> Sequence[str]: ...
    @property
    def env(self) -> Sequence[str]: ...
    @property
    def user(self) -> str: ...
    @property
    def working_dir(self) -> str: ...
    @property
    def stop_signal(self) -> str: ...
    @property
    def volumes(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxView:
    """A sandbox, as far as its containers have to know it."""

    id: str
    config: v1.PodSandboxConfig
    namespaces: Mapping[Kind, str]
    """Paths of the pinned namespaces, by kind; a kind that is absent is the host's. A user namespace owns the others.
    """
    pid_namespace: str | None
    """Path of the PID namespace that the containers share, where there is one."""
    cgroup_parent: str
    """Absolute cgroup path; with the systemd driver the last part is a slice. Never empty."""
    shm: str
    """Directory shown as /dev/shm; the host's /dev/shm where the IPC namespace is the host's."""
    files: Mapping[str, str]
    """Path in the containers → path on the host, of /etc/hosts, /etc/resolv.conf, /etc/hostname. They must belong to
    the root user of the sandbox's user namespace; they are not id-mapped, since a tmpfs cannot be before Linux 6.3.
    """
    uids: Sequence[IdMapping] = ()
    """Of the user namespace; empty if there is none."""
    gids: Sequence[IdMapping] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerInput:
    """A container to be described."""

    id: str
    config: v1.ContainerConfig
    sandbox: SandboxView
    image: ImageConfig
    rootfs: str
    """The mounted root file system: passwd and group are read there."""
    volumes: str
    """A directory; anonymous volumes of the image shall be made below it."""
    image_mounts: Mapping[int, str] = field(default_factory=dict)
    """Host path of each image mount, by its place in config.mounts, sub path resolved."""
    target_pid_namespace: str | None = None
    """Path of the PID namespace of the target container; needed with NamespaceMode TARGET only."""
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Soft and hard limits by name, such as RLIMIT_NOFILE. Those not named are the daemon's own."""
    own_directories: Sequence[str] = ()
    """Where this runtime keeps mounts of its own; see mounts.py, Propagation."""
