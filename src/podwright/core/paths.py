"""Where things lie. The only place that joins path names of ours.

`state` lives as long as the processes (a tmpfs, gone after a reboot); `root` stays.
"""

from dataclasses import dataclass

from podwright.kernel.namespaces import Kind


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one daemon; several daemons with different ones live side by side."""

    state: str = "/run/podwright"
    root: str = "/var/lib/podwright"
    network_namespaces: str = "/run/netns"
    """Where the pins of network namespaces are: where `ip netns` looks, and CNI agents that run in pods."""
    image_store: str = ""
    """Where images are kept; empty for a directory in `root`."""

    @property
    def database(self) -> str:
        """state.db."""
        return f"{self.root}/state.db"

    @property
    def images(self) -> str:
        """The image store."""
        return self.image_store or f"{self.root}/images"

    @property
    def exits(self) -> str:
        """Files with exit codes, by container id, written by conmon."""
        return f"{self.state}/exits"

    @property
    def consoles(self) -> str:
        """Sockets on which terminals are handed over; apart, since the path of a socket may have only 107 bytes."""
        return f"{self.state}/consoles"

    def runtime_root(self, handler: str) -> str:
        """Where an OCI runtime keeps its state."""
        return f"{self.state}/runtimes/{handler}"

    def program(self, handler: str) -> str:
        """Where the folder of an OCI runtime's program is mounted (oci/readonly_program.py)."""
        return f"{self.state}/programs/{handler}"

    def sandbox(self, sandbox_id: str) -> str:
        """The files of a sandbox: resolv.conf, hosts, hostname, shm, pins."""
        return f"{self.state}/sandboxes/{sandbox_id}"

    def pin(self, sandbox_id: str, kind: Kind) -> str:
        """The pin of a namespace of a sandbox."""
        if kind == "net":
            return f"{self.network_namespaces}/podwright-{sandbox_id}"
        return f"{self.sandbox(sandbox_id)}/{kind}"

    def infra_bundle(self, sandbox_id: str) -> str:
        """The bundle of process 1 of a shared PID namespace."""
        return f"{self.sandbox(sandbox_id)}/infra"

    def bundle(self, container_id: str) -> str:
        """The OCI bundle of a container, with conmon's files in it."""
        return f"{self.state}/containers/{container_id}"

    def exec(self, container_id: str, exec_id: str) -> str:
        """The files of a command that runs in a container; there as long as it runs."""
        return f"{self.bundle(container_id)}/exec-{exec_id}"

    def rootfs(self, container_id: str) -> str:
        """Where the root file system of a container is mounted."""
        return f"{self.bundle(container_id)}/rootfs"

    def mapped_layers(self, container_id: str) -> str:
        """Where the layers of a container with a user namespace are mounted with its owners, for a moment."""
        return f"{self.bundle(container_id)}/layers"

    def image_volume(self, container_id: str, number: int) -> str:
        """Where an image that is a volume of the container is mounted; `number` is its place among the mounts."""
        return f"{self.bundle(container_id)}/image-{number}"

    def container(self, container_id: str) -> str:
        """What a container writes: its upper directory and its anonymous volumes."""
        return f"{self.containers}/{container_id}"

    @property
    def containers(self) -> str:
        """What containers write is below it."""
        return f"{self.root}/containers"

    def written(self, container_id: str) -> tuple[str, ...]:
        """The trees that grow when a container writes."""
        own = self.container(container_id)
        return (f"{own}/upper", f"{own}/volumes")

    @property
    def boot_marker(self) -> str:
        """Says which boot the state directory belongs to."""
        return f"{self.state}/boot-id"

    def object_directories(self) -> tuple[str, ...]:
        """Directories whose entries are named by ids."""
        return (f"{self.state}/sandboxes", f"{self.state}/containers", self.containers)
