"""SELinux labels of containers and of what is mounted there.

Types come from the policy's lxc_contexts file, as with libselinux's selabel. Each sandbox has two categories of its
own, derived from its id, so that nothing has to be remembered: of 523,776 pairs, a node with 100 sandboxes has one
pair twice once in a hundred times, and then only these two sandboxes could touch one another's files.
"""

import contextlib
import errno
import hashlib
import os
from dataclasses import dataclass

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.oci.host import Host
from podwright.oci.inputs import ContainerInput, SandboxView

ATTRIBUTE = "security.selinux"
_CATEGORIES = 1024
_CONTEXTS = "/etc/selinux/{policy}/contexts/lxc_contexts"
_CONFIG = "/etc/selinux/config"


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a container."""

    process: str
    """process.selinuxLabel."""
    mount: str
    """linux.mountLabel, and that of its files."""


def check(options: v1.SELinuxOption) -> None:
    """Raises InvalidArgument for parts that no label can have."""
    for name in ("user", "role", "type", "level"):
        part = getattr(options, name)
        if any(not (c.isascii() and c.isprintable()) or c.isspace() for c in part) or (name != "level" and ":" in part):
            raise InvalidArgument(f'linux.security_context.selinux_options.{name}: "{part}" is no part of a label')


def labels(container: ContainerInput, host: Host) -> Labels | None:
    """The labels of a container: by its own options, else the sandbox's. None without SELinux, and for privileged
    containers, which are not confined.
    """
    security = container.config.linux.security_context
    if security.privileged:
        return None
    if security.HasField("selinux_options"):
        return _labels(security.selinux_options, container.sandbox.id, host)
    return labels_of_sandbox(container.sandbox, host)


def labels_of_sandbox(sandbox: SandboxView, host: Host) -> Labels | None:
    """The labels of a sandbox. None without SELinux."""
    return _labels(sandbox.config.linux.security_context.selinux_options, sandbox.id, host)


def _labels(options: v1.SELinuxOption, sandbox_id: str, host: Host) -> Labels | None:
    if not host.selinux:
        return None
    process, file = _contexts()
    level = options.level or f"s0:{_categories(sandbox_id)}"
    user, role, kind, *_ = process.split(":")
    file_user, file_role, file_kind, *_ = file.split(":")
    return Labels(
        f"{options.user or user}:{options.role or role}:{options.type or kind}:{level}",
        f"{file_user}:{file_role}:{file_kind}:{level}",
    )


def _categories(sandbox_id: str) -> str:
    number = int.from_bytes(hashlib.sha256(sandbox_id.encode()).digest()[:8])
    first, second = number % _CATEGORIES, number // _CATEGORIES % (_CATEGORIES - 1)
    second += second >= first
    return f"c{min(first, second)},c{max(first, second)}"


def _contexts() -> tuple[str, str]:
    """The labels of a container's process and of its files, as the policy has them."""
    found = {"process": "system_u:system_r:container_t:s0", "file": "system_u:object_r:container_file_t:s0"}
    policy = _settings(_CONFIG).get("SELINUXTYPE", "targeted")
    found.update(_settings(_CONTEXTS.format(policy=policy)))
    return found["process"], found["file"]


def _settings(path: str) -> dict[str, str]:
    """The lines `name = "value"` of a file; none if it is not there."""
    found = {}
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as lines:
        for line in lines:
            name, equals, value = line.partition("=")
            if equals and not name.lstrip().startswith("#"):
                found[name.strip()] = value.strip().strip('"')
    return found


def relabel(path: str, label: str) -> None:
    """Gives a file, or a directory and all below it, a label. A file system without labels is left alone."""
    value = label.encode()
    try:
        os.setxattr(path, ATTRIBUTE, value, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for parent, directories, files in os.walk(path):
        for name in (*directories, *files):
            with contextlib.suppress(FileNotFoundError):
                os.setxattr(f"{parent}/{name}", ATTRIBUTE, value, follow_symlinks=False)
