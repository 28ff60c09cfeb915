"""Where a node keeps what on disk: the kubelet's own layout, for other programs know it.

    <root>/pods/<uid>/volumes/kubernetes.io~<kind>/<name>/         volumes
    <root>/pods/<uid>/volume-subpaths/<volume>/<container>/<n>     parts of volumes, bound there
    <root>/pods/<uid>/containers/<container>/<number>              termination messages
    <root>/pods/<uid>/etc-hosts
    <logs>/<namespace>_<name>_<uid>/<container>/<attempt>.log
    <logs>/../containers/<pod>_<namespace>_<container>-<id>.log    links to logs, for collectors

Joins no other paths than these, makes nothing.
"""

import os
from dataclasses import dataclass

from podwright.pods.schema import Volume


@dataclass(frozen=True, slots=True)
class PodPlaces:
    """The places of one pod."""

    path: str
    logs: str

    def volume(self, volume: Volume) -> str:
        """Where a volume lives."""
        return f"{self.path}/volumes/kubernetes.io~{_kind(volume)}/{volume.name}"

    def sub_path(self, volume: str, container: str, index: int) -> str:
        """Where a part of a volume is bound."""
        return f"{self.path}/volume-subpaths/{volume}/{container}/{index}"

    def messages(self, container: str) -> str:
        """The directory of a container's termination messages."""
        return f"{self.path}/containers/{container}"

    @property
    def hosts(self) -> str:
        """The pod's /etc/hosts."""
        return f"{self.path}/etc-hosts"


@dataclass(frozen=True, slots=True)
class Places:
    """The places of the node."""

    root: str
    logs: str

    @property
    def pods(self) -> str:
        return f"{self.root}/pods"

    @property
    def log_links(self) -> str:
        return f"{os.path.dirname(self.logs)}/containers"

    def pod(self, uid: str, namespace: str, name: str) -> PodPlaces:
        """The places of a pod."""
        return PodPlaces(f"{self.pods}/{uid}", f"{self.logs}/{namespace}_{name}_{uid}")

    def log_link(self, pod: str, namespace: str, container: str, container_id: str) -> str:
        """The link to a container's log."""
        return f"{self.log_links}/{pod}_{namespace}_{container}-{container_id}.log"


def in_memory(volume: Volume) -> bool:
    """Whether a volume is kept in a tmpfs: secrets must not reach a disk."""
    if volume.empty_dir is not None:
        return volume.empty_dir.medium == "Memory"
    return volume.secret is not None or volume.projected is not None or volume.downward_api is not None


def _kind(volume: Volume) -> str:
    for name, source in (
        ("empty-dir", volume.empty_dir),
        ("configmap", volume.config_map),
        ("secret", volume.secret),
        ("projected", volume.projected),
        ("downward-api", volume.downward_api),
    ):
        if source is not None:
            return name
    return "host-path"
