"""config.json of the infra container: process 1 of the PID namespace that the containers of a sandbox share.

It waits and reaps. No image is needed: a static program of the host is mounted into an empty directory.
"""

import os

from podwright.oci import annotations, apparmor, capabilities, namespaces, process, resources, seccomp, selinux, users
from podwright.oci.documents import OCI_VERSION, Document, without_empty
from podwright.oci.features import Features
from podwright.oci.host import Host
from podwright.oci.inputs import SandboxView

OOM_SCORE_ADJ = -998
"""As the pause process of the peers has it: it shall die last."""
PROGRAM = "/init"
"""Where the program is inside."""


def make_rootfs(path: str) -> None:
    """Makes a root file system of nothing but places to mount on: root of a user namespace could not make them.

    Blocking. Raises OSError.
    """
    for directory in (path, f"{path}/proc", f"{path}/dev"):
        os.makedirs(directory, mode=0o755)
    os.close(os.open(path + PROGRAM, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))


def build(
    sandbox: SandboxView, program: str, rootfs: str, host: Host, features: Features, notes: list[str]
) -> Document:
    """The configuration. `program` is a static one that pauses with the option -P (catatonit); `rootfs` is a directory
    of make_rootfs. `notes` gets a line for each wish that the host cannot fulfil.

    The process has the sandbox's namespaces, user and profiles, no capability, and nothing to write to.
    """
    safe = ["nosuid", "noexec", "nodev"]
    spec: Document = {
        "ociVersion": OCI_VERSION,
        "process": _process(sandbox, host, notes),
        "root": {"path": rootfs, "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": safe},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "noexec", "mode=755", "size=64k"],
            },
            {"destination": PROGRAM, "type": "bind", "source": program, "options": ["bind", "ro", "nosuid", "nodev"]},
        ],
        "annotations": {**annotations.of_sandbox(sandbox), **annotations.for_systemd(host, features)},
        "linux": _linux(sandbox, host),
    }
    labels = selinux.labels_of_sandbox(sandbox, host)
    if labels:
        spec["process"]["selinuxLabel"] = labels.process
        spec["linux"]["mountLabel"] = labels.mount
    return spec


def _process(sandbox: SandboxView, host: Host, notes: list[str]) -> Document:
    security = sandbox.config.linux.security_context
    gid = security.run_as_group.value
    user = users.User(security.run_as_user.value, gid, (gid, *sorted(set(security.supplemental_groups) - {gid})))
    return without_empty(
        {
            "user": user.document(),
            "args": [PROGRAM, "-P"],
            "env": [f"PATH={process.DEFAULT_PATH}"],
            "cwd": "/",
            "capabilities": capabilities.NONE.document(),
            "noNewPrivileges": True,
            "oomScoreAdj": process.oom_score_adj(OOM_SCORE_ADJ, host, notes),
            "apparmorProfile": apparmor.profile(security, host, notes),
        }
    )


def _linux(sandbox: SandboxView, host: Host) -> Document:
    security = sandbox.config.linux.security_context
    own = ["mount", "pid", *(["cgroup"] if host.v2 else [])]
    limits: Document = {"devices": [{"allow": False, "access": "rwm"}]}
    if "cpu" in host.controllers:
        limits["cpu"] = {"shares": resources.SHARES[0]}
    return without_empty(
        {
            "namespaces": [*({"type": kind} for kind in own), *namespaces.pinned(sandbox)],
            "uidMappings": namespaces.mapping_documents(sandbox.uids),
            "gidMappings": namespaces.mapping_documents(sandbox.gids),
            "cgroupsPath": resources.cgroups_path(sandbox.cgroup_parent, sandbox.id, host.driver),
            "resources": limits,
            "seccomp": seccomp.document(security, frozenset(), host, native_only=True),
        }
    )
