"""What the daemon does to its own surroundings before anything else, while the process has one thread.

Owns the directories' mounts, the mount namespace that crun needs on hybrid cgroups, and the lock that keeps a second
daemon away.
"""

import fcntl
import logging
import os
import resource

from podwright.core.paths import Paths
from podwright.errors import FailedPrecondition
from podwright.kernel import mounts, namespaces
from podwright.kernel.cgroups import Cgroups

logger = logging.getLogger(__name__)


def make_directories(paths: Paths) -> None:
    """Makes the directories, and makes the state directory a private mount (kernel/mounts.make_private says why)."""
    os.makedirs(paths.state, mode=0o711, exist_ok=True)
    mounts.make_private(os.path.realpath(paths.state))
    for directory in (paths.exits, paths.consoles, *paths.object_directories()):
        os.makedirs(directory, mode=0o711, exist_ok=True)
    os.makedirs(paths.network_namespaces, mode=0o755, exist_ok=True)


def raise_open_files() -> None:
    """Raises the soft limit of open files to the hard one: most hosts give 1024, and a busy node needs one for each
    running container and several for each whose figures are asked for.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lock(paths: Paths) -> int:
    """Takes the daemon's lock until the process ends. Raises FailedPrecondition if another daemon has it."""
    os.makedirs(paths.root, mode=0o711, exist_ok=True)
    fd = os.open(f"{paths.root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise FailedPrecondition(f"another podwright uses {paths.root}: stop it, or choose other directories") from None
    return fd


def hide_unified_controllers(paths: Paths, cgroups: Cgroups) -> None:
    """On hybrid cgroups, makes crun see no controllers in the v2 hierarchy, in a mount namespace of this daemon's own.

    crun refuses hybrid hosts otherwise ("drop all controllers from cgroupv2"); v2's kill, freeze and pressure files
    stay usable. The namespace is pinned: the next daemon enters it again and finds the mounts of this one. Mounts of
    the host keep arriving, and those of containers keep going out, because / is shared: it is made so where the boot
    did not, since a kubelet mounts secrets and tokens that containers must see.
    """
    if cgroups.mode != "hybrid" or cgroups.unified is None:
        return
    if not mounts.mount_of("/").shared:
        logger.warning("/ is not a shared mount: making it one, so that mounts made later reach containers")
        mounts.make_shared("/")
        mounts.make_private(os.path.realpath(paths.state))
    namespaces.enter_mount_namespace(f"{os.path.realpath(paths.state)}/mount-namespace")
    controllers = f"{cgroups.unified}/cgroup.controllers"
    if os.path.getsize(controllers) == 0 and mounts.is_mount_point(controllers):
        return
    mounts.make_private(cgroups.unified)
    mounts.bind("/dev/null", controllers)
