"""Devices in a container: those that are asked for, all of the host's for a privileged one, and the cgroup's rules.

The usual ones (null, zero, full, random, urandom, tty, ptmx, console) are made and allowed by every OCI runtime.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.oci.documents import Document
from podwright.oci.inputs import ContainerInput
from podwright.oci.mounts import check_container_path, clean

_OWN_DIRECTORIES = frozenset({"pts", "shm", "fd", "mqueue"})
_OWN_FILES = frozenset({"/dev/console", "/dev/ptmx"})
"""What a container has of its own in /dev."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device file of the host."""

    path: str
    kind: str
    """b or c; p for a FIFO."""
    major: int
    minor: int
    mode: int
    uid: int
    gid: int

    def document(self, path: str) -> Document:
        """An entry of linux.devices, to be made at `path`."""
        return {
            "path": path,
            "type": self.kind,
            "major": self.major,
            "minor": self.minor,
            "fileMode": self.mode,
            "uid": self.uid,
            "gid": self.gid,
        }

    def rule(self, access: str) -> Document:
        """The rule of the cgroup that allows it."""
        return {"allow": True, "type": self.kind, "major": self.major, "minor": self.minor, "access": access}


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a container."""

    nodes: list[Document] = field(default_factory=list)
    """linux.devices."""
    rules: list[Document] = field(default_factory=list)
    """linux.resources.devices."""
    mounts: list[Document] = field(default_factory=list)
    """In a user namespace no device can be made; the host's file is mounted in its place."""


def check(config: v1.ContainerConfig) -> None:
    """Raises InvalidArgument for wrong paths and permissions. Looks at no file."""
    for index, device in enumerate(config.devices):
        check_container_path(f"devices[{index}].container_path", device.container_path)
        if not device.host_path.startswith("/") or "\0" in device.host_path:
            raise InvalidArgument(f'devices[{index}].host_path: "{device.host_path}" is no absolute path')
        check_permissions(f"devices[{index}].permissions", device.permissions)


def check_permissions(field: str, text: str) -> None:
    """Raises InvalidArgument unless `text` has but the letters r, w and m, each once at most."""
    if set(text) - set("rwm") or len(set(text)) != len(text):
        raise InvalidArgument(f'{field}: "{text}" is no combination of r, w and m')


def build(container: ContainerInput) -> Devices:
    """All devices of a container. Raises InvalidArgument if one that is asked for is not there."""
    privileged = container.config.linux.security_context.privileged
    in_user_namespace = bool(container.sandbox.uids)
    found = Devices(rules=[{"allow": privileged, "access": "rwm"}])
    if privileged:
        for node in below("/dev"):
            place(found, node.path, node, in_user_namespace=in_user_namespace)
    for index, device in enumerate(container.config.devices):
        for path, node in _asked_for(f"devices[{index}]", device):
            place(found, path, node, in_user_namespace=in_user_namespace)
            allow(found, node, device.permissions)
    return found


def place(found: Devices, path: str, node: Node, *, in_user_namespace: bool) -> None:
    """Puts the device `node` at `path` of the container, instead of another one there."""
    found.nodes[:] = [other for other in found.nodes if other["path"] != path]
    found.mounts[:] = [other for other in found.mounts if other["destination"] != path]
    if in_user_namespace:
        options = ["bind", "rprivate", "nosuid", "noexec"]
        found.mounts.append({"destination": path, "type": "bind", "source": node.path, "options": options})
    else:
        found.nodes.append(node.document(path))


def allow(found: Devices, node: Node, permissions: str) -> None:
    """Adds the rule that lets the container use `node`; without `permissions`, in every way."""
    if node.kind != "p":
        found.rules.append(node.rule(permissions or "rwm"))


def _asked_for(field: str, device: v1.Device) -> Iterator[tuple[str, Node]]:
    """Paths in the container and devices: one, or all below a directory."""
    inside = clean(device.container_path)
    source = os.path.realpath(device.host_path)
    node = find(source)
    if node is not None:
        yield inside, node
        return
    if not os.path.isdir(source):
        what = "is no device" if os.path.exists(source) else "does not exist"
        raise InvalidArgument(f'{field}.host_path: "{device.host_path}" {what}')
    nodes = below(source)
    if not nodes:
        raise InvalidArgument(f'{field}.host_path: there is no device below "{device.host_path}"')
    for node in nodes:
        yield inside + node.path.removeprefix(source), node


def find(path: str) -> Node | None:
    """The device at `path`, where there is one."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    mode = stat.S_IMODE(status.st_mode)
    return Node(path, kind, os.major(status.st_rdev), os.minor(status.st_rdev), mode, status.st_uid, status.st_gid)


def below(directory: str) -> Sequence[Node]:
    """All devices below a directory, but for what a container has of its own, in order of their
    paths.
    """
    found = []
    for parent, directories, files in os.walk(directory):
        if parent == "/dev":
            directories[:] = set(directories) - _OWN_DIRECTORIES
        for name in files:
            node = find(f"{parent.rstrip('/')}/{name}")
            if node is not None and node.path not in _OWN_FILES:
                found.append(node)
    return sorted(found, key=lambda node: node.path)
