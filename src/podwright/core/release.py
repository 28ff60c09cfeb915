"""How each kind of resource in the ledger is released. Every function succeeds where there is nothing (left) to
release.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping

from podwright.core.ledger import Kind, Release, Resource
from podwright.core.runtime import Runtime
from podwright.errors import Internal
from podwright.kernel import mounts, namespaces, process
from podwright.oci import conmon

DEATH_SECONDS = 10.0
"""How long the killed processes of a cgroup may take to die before the attempt is given up, to be made again later."""


def release_functions(runtime: Runtime) -> Mapping[Kind, Release]:
    """The functions by kind."""

    async def directory(resource: Resource) -> None:
        await asyncio.to_thread(_remove_tree, resource.args["path"])

    async def mount(resource: Resource) -> None:
        await asyncio.to_thread(mounts.umount, resource.args["path"])

    async def pin(resource: Resource) -> None:
        await asyncio.to_thread(namespaces.unpin, resource.args["path"])

    async def network(resource: Resource) -> None:
        await runtime.network.detach(resource.owner)

    async def cgroup(resource: Resource) -> None:
        path = resource.args["path"]
        others = (s for s in runtime.index.sandboxes.values() if s.id != resource.owner)
        if not any(sandbox.facts.cgroup_parent == path for sandbox in others):
            await asyncio.to_thread(_remove_cgroup, runtime, path, resource.args["up_to"])

    async def shadow(resource: Resource) -> None:
        await asyncio.to_thread(runtime.host.cgroups.remove_shadow, resource.args["path"])

    async def container(resource: Resource) -> None:
        await asyncio.to_thread(_kill_container, runtime, resource)
        handler = runtime.handlers.get(resource.args["handler"])
        if handler is None:
            raise Internal(f'the handler "{resource.args["handler"]}" is no longer configured')
        await handler.runtime.delete(resource.args["id"])
        await asyncio.to_thread(_remove_cgroup, runtime, resource.args["cgroup"])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{runtime.paths.exits}/{resource.args['id']}")

    async def checkpoint(resource: Resource) -> None:
        await asyncio.to_thread(_remove_file_or_tree, resource.args["path"])

    async def frozen(resource: Resource) -> None:
        await asyncio.to_thread(_thaw, runtime, resource)

    return {
        "directory": directory,
        "mount": mount,
        "pin": pin,
        "network": network,
        "cgroup": cgroup,
        "shadow": shadow,
        "container": container,
        "checkpoint": checkpoint,
        "frozen": frozen,
    }


def has_to_wait(runtime: Runtime, resource: Resource) -> bool:
    """Whether a resource must stay until another is gone: a network namespace until its DEL, which was repeated, has
    succeeded, since some plugins leave rules behind without the namespace.
    """
    is_network = resource.kind == "pin" and resource.args["kind"] == "net"
    return is_network and runtime.network.holds(resource.owner)


def _remove_tree(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _remove_file_or_tree(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        _remove_tree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _thaw(runtime: Runtime, resource: Resource) -> None:
    """Lets a cgroup run on that was frozen for a checkpoint. A dump that has outlived us would freeze it again at its
    end.
    """
    if process.with_argument(resource.args["images"].encode()):
        raise Internal(f"criu still writes {resource.args['images']}: its end has to be awaited")
    if runtime.host.cgroups.exists(resource.args["cgroup"]):
        runtime.host.cgroups.freeze(resource.args["cgroup"], frozen=False)


def _kill_container(runtime: Runtime, resource: Resource) -> None:
    """Nobody may be left who writes to the root file system or makes the cgroup anew: neither the container nor its
    conmon.
    """
    cgroup = resource.args["cgroup"]
    if not _is_made(runtime, resource.owner):
        # A creation that failed or was cut off: conmon, or the OCI runtime, may be at work still.
        for pid in conmon.find_processes(resource.args["bundle"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    runtime.host.cgroups.kill(cgroup)
    if not runtime.host.cgroups.wait_empty(cgroup, DEATH_SECONDS):
        raise Internal(f"processes in cgroup {cgroup} do not die; they may be in uninterruptible sleep")
    known = runtime.index.containers.get(resource.owner)
    monitor = known.status.monitor if known is not None else None
    if monitor is not None and not monitor.wait(DEATH_SECONDS):  # it writes the exit file, which is removed next
        monitor.kill()


def _is_made(runtime: Runtime, owner: str) -> bool:
    """Whether the creation of the container, or of the sandbox's process 1, is known to have ended well."""
    container, sandbox = runtime.index.containers.get(owner), runtime.index.sandboxes.get(owner)
    if container is not None:
        return container.status.process is not None
    return sandbox is not None and sandbox.status.infra is not None


def _remove_cgroup(runtime: Runtime, path: str, up_to: str = "") -> None:
    runtime.host.cgroups.remove(path, up_to=up_to)
