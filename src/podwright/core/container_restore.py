"""A container out of a checkpoint: made from its files, in state created, without a process; starting it is having criu
restore the processes, under a conmon as any other container has.

The checkpoint says what the processes are and what their files have in them; the request, where mounts come from, what
is limited, and where the log goes (KEP-5823).
"""

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Mapping
from typing import Any

from podwright.clock import now_ns
from podwright.core import checkpoint_files, exits
from podwright.core.checkpoint_files import Checkpoint
from podwright.core.runtime import Runtime
from podwright.errors import Internal, InvalidArgument, PodwrightError
from podwright.oci import conmon
from podwright.oci.runtime import criu_errors
from podwright.state.records import Container
from podwright.trace import step

logger = logging.getLogger(__name__)

_CRIU_CONFIG = "criu.conf"
_OF_THE_POD = "HOSTNAME="
"""An entry of the environment that is not the container's own, and is another one in another pod."""


def images(runtime: Runtime, container: Container) -> str:
    """Where the images of its processes are until it is started."""
    return f"{runtime.paths.container(container.id)}/checkpoint"


async def fill(runtime: Runtime, container: Container, checkpoint: Checkpoint) -> None:
    """Puts into the container's new directories what the checkpoint has for them. Raises InvalidArgument."""
    own = runtime.paths.container(container.id)
    for name, directory in ((checkpoint_files.ROOTFS_DIFF, "upper"), (checkpoint_files.VOLUMES, "volumes")):
        archive = await asyncio.to_thread(checkpoint.file, name)
        if archive is not None:
            await runtime.images.unpack_changes(archive, f"{own}/{directory}")
    source = os.path.join(checkpoint.directory, checkpoint_files.IMAGES)
    await asyncio.to_thread(_link_all, source, images(runtime, container))


def check(checkpoint: Checkpoint, wanted: dict[str, Any]) -> None:
    """Raises InvalidArgument, naming the field, if the OCI configuration `wanted` is that of another process.

    Its supplementary groups become the checkpoint's: /etc/group is as the container has left it, not as it was when
    they were looked up.
    """
    named = f'container_configs["{checkpoint.name}"]'
    have, want = checkpoint.spec["process"], wanted["process"]
    for field in ("args", "cwd", "terminal"):
        if have.get(field) != want.get(field):
            raise InvalidArgument(f"{named}: process.{field} is {want.get(field)}, not {have.get(field)} as it was")
    for field in ("uid", "gid"):
        if have["user"][field] != want["user"][field]:
            raise InvalidArgument(
                f"{named}: user.{field} is {want['user'][field]}, not {have['user'][field]} as it was"
            )
    want["user"] = have["user"]
    for field, look in (("environment", _environment), ("mounts", _destinations), ("namespaces", _namespaces)):
        had, wants = look(checkpoint.spec), look(wanted)
        if had != wants:
            raise InvalidArgument(f"{named}: {field} is not as it was: {', '.join(sorted(had ^ wants))}")


def _environment(spec: Mapping[str, Any]) -> set[str]:
    return {entry for entry in spec["process"].get("env", ()) if not entry.startswith(_OF_THE_POD)}


def _destinations(spec: Mapping[str, Any]) -> set[str]:
    return {mount["destination"] for mount in spec.get("mounts", ())}


def _namespaces(spec: Mapping[str, Any]) -> set[str]:
    """Each kind, and whether it is the container's own or shared."""
    return {f"{space['type']}: {'shared' if space.get('path') else 'own'}" for space in spec["linux"]["namespaces"]}


def _link_all(source: str, target: str) -> None:
    """The images under names of our own: the checkpoint may be deleted before the container is started."""
    os.mkdir(target, 0o700)
    for name in os.listdir(source):
        path = os.path.join(source, name)
        try:
            os.link(path, os.path.join(target, name), follow_symlinks=False)
        except OSError:  # on another file system
            shutil.copyfile(path, os.path.join(target, name), follow_symlinks=False)


async def resume(runtime: Runtime, container: Container, creation: conmon.Creation) -> None:
    """Restores the processes of a container that was made of a checkpoint. The caller holds its lock.

    If criu fails the container ends as EXITED with reason StartError. Raises Internal with criu's words.
    """
    await runtime.index.update_container(container, phase="starting", started_at=now_ns())
    try:
        async with container.sandbox.criu:
            with step("container.restore", container.id):
                await asyncio.to_thread(_write_criu_config, creation.bundle)
                made = await conmon.create(creation)
                cgroup = await asyncio.to_thread(runtime.host.cgroups.of_process, made.container.pid)
    except PodwrightError as error:
        words = await asyncio.to_thread(criu_errors, f"{creation.bundle}/restore.log")
        failure = Internal(f"{error}{f': {words}' if words else ''}")
        await exits.end_unstarted(runtime, container, "StartError", str(failure))
        raise failure from error
    await runtime.index.update_container(
        container,
        phase="running",
        process=made.container,
        monitor=made.monitor,
        cgroup=cgroup,
    )
    exits.watch_container(runtime, container)
    # What cannot be removed now goes with the container.
    await asyncio.to_thread(shutil.rmtree, images(runtime, container), ignore_errors=True)


def add_criu_config(spec: dict[str, Any], bundle: str) -> None:
    """Names the file of options for criu that the OCI runtime has no flags for, where runc and crun look for it."""
    spec.setdefault("annotations", {})["org.criu.config"] = os.path.join(bundle, _CRIU_CONFIG)


def _write_criu_config(bundle: str) -> None:
    """The pod has another address: connections of the old one come back closed. The OCI runtime has put criu into the
    container's cgroup: it need not make that of the old container again.
    """
    with open(os.path.join(bundle, _CRIU_CONFIG), "w", encoding="utf-8") as file:
        file.write("tcp-close\nmanage-cgroups=ignore\n")


def write_limits(bundle: str, limits: Mapping[str, Any]) -> None:
    """Changes limits of a container that has no cgroup yet: it is made with them. Blocking."""
    path = os.path.join(bundle, "config.json")
    with open(path, "rb") as file:
        spec = json.load(file)
    spec["linux"].setdefault("resources", {}).update(limits)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(spec, file)
    os.rename(f"{path}.new", path)
