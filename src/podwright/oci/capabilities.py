"""Capability sets of containers: the default set, what a pod adds and drops, and what this host can give."""

from collections.abc import Sequence
from dataclasses import dataclass

from podwright.cri import v1
from podwright.errors import InvalidArgument

_NAMES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_DEFAULT = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
AUDIT_WRITE
"""

NAMES = tuple("CAP_" + name for name in _NAMES.split())
"""By their number in include/uapi/linux/capability.h."""

DEFAULT = frozenset("CAP_" + name for name in _DEFAULT.split())
"""What a container has unless told otherwise; containerd's and Docker's set, which images are written for."""


@dataclass(frozen=True, slots=True)
class CapabilitySets:
    """The capabilities of a container's first process, in the kernel's order."""

    bounding: tuple[str, ...]
    """Permitted and effective are the same: the kernel takes them from who is not root, at execve."""
    ambient: tuple[str, ...]
    """Kept at execve by any user (capabilities(7)); a part of the others, and inheritable."""

    def document(self) -> dict[str, list[str]]:
        """process.capabilities. Nothing but ambient ones is inheritable: CVE-2022-24769."""
        bounding = list(self.bounding)
        return {
            "bounding": bounding,
            "effective": bounding,
            "permitted": bounding,
            "inheritable": list(self.ambient),
            "ambient": list(self.ambient),
        }


NONE = CapabilitySets((), ())


def from_mask(mask: int) -> frozenset[str]:
    """The names of a bit mask of /proc/<pid>/status."""
    return frozenset(name for number, name in enumerate(NAMES) if mask >> number & 1)


def sets(security: v1.LinuxContainerSecurityContext, available: frozenset[str], notes: list[str]) -> CapabilitySets:
    """The sets for a container.

    ALL counts before single names, a drop before an addition of the same name, and additions to the ambient set are
    additions to all sets (KEP-2763), so that a container that drops ALL can give its non-root user one. What is
    wanted but not in `available`, the daemon's own bounding set, is left out, and `notes` gets a line: the kernel
    would refuse it. Raises InvalidArgument for an unknown name.
    """
    wish = security.capabilities
    add = _names("add_capabilities", wish.add_capabilities)
    drop = _names("drop_capabilities", wish.drop_capabilities)
    ambient = _names("add_ambient_capabilities", wish.add_ambient_capabilities)
    wanted = set(NAMES) if security.privileged or "ALL" in add else set(DEFAULT)
    if "ALL" in drop and not security.privileged:
        wanted.clear()
    kept = set(NAMES) if "ALL" in ambient else set(ambient)
    if not security.privileged:
        kept -= drop
        wanted = (wanted | add | kept) - drop
    missing = _in_order((wanted | kept) & set(NAMES) - available)
    if missing:
        notes.append(f"left out, since the daemon does not have them itself: {', '.join(missing)}")
    return CapabilitySets(_in_order(wanted & available), _in_order(kept & available))


def check(security: v1.LinuxContainerSecurityContext) -> None:
    """Raises InvalidArgument for an unknown name."""
    sets(security, frozenset(), [])


def _names(field: str, names: Sequence[str]) -> set[str]:
    """Full names; the prefix CAP_ and small letters are allowed."""
    found = set()
    for name in names:
        full = name.upper()
        if full != "ALL" and not full.startswith("CAP_"):
            full = "CAP_" + full
        if full not in (*NAMES, "ALL"):
            raise InvalidArgument(f'linux.security_context.capabilities.{field}: unknown capability "{name}"')
        found.add(full)
    return found


def _in_order(names: set[str] | frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in NAMES if name in names)
