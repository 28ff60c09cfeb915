"""A container's checkpoint on disk: the files that checkpointctl reads, as other runtimes lay them out.

    checkpoint/      criu's images of the processes
    rootfs-diff.tar  what the container changed in its root file system: an OCI layer, as containerd has it
    deleted.files    the names it deleted there, as Podman and CRI-O have them (a list in JSON)
    volumes.tar      what is in the anonymous volumes that its image declares, if there are any
    config.dump      id, name, image, OCI runtime and times (lib/metadata.go of checkpointctl)
    spec.dump        the OCI configuration
    status.dump      the CRI ContainerStatus
    container.log    the log so far
    dump.log         criu's

All of memory is in it, with every secret: only root may read it.
"""

import asyncio
import json
import os
import shutil
import stat
from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict

from podwright.clock import now_ns
from podwright.core import messages
from podwright.core.runtime import Handler, Runtime
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.state.records import Container
from podwright.trace import step
from podwright.wire.cri_log import format_time

IMAGES = "checkpoint"
ROOTFS_DIFF = "rootfs-diff.tar"
DELETED = "deleted.files"
VOLUMES = "volumes.tar"
CONFIG = "config.dump"
SPEC = "spec.dump"
STATUS = "status.dump"
LOG = "container.log"

_CRIU_LOGS = ("dump.log", "stats-dump")


class ConfigDump(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """config.dump."""

    id: str
    name: str
    rootfs_image: str
    """The image's id."""
    rootfs_image_ref: str
    rootfs_image_name: str
    runtime: str
    """The OCI runtime that made the images: runc or crun."""
    created_time: str
    checkpointed_time: str


class Checkpoint(msgspec.Struct, frozen=True):
    """A container's checkpoint that was read."""

    directory: str
    config: ConfigDump
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        """The container's name."""
        return self.config.name

    def file(self, name: str) -> str | None:
        """The path of one of the files; None if there is no such file."""
        path = os.path.join(self.directory, name)
        return path if os.path.exists(path) else None


async def capture(runtime: Runtime, container: Container, directory: str) -> None:
    """Writes what the container is at this moment, memory and disk, into a new directory. It must be frozen.

    Raises Internal with criu's words, ResourceExhausted. Must not be cancelled (OciRuntime.checkpoint).
    """
    images, own = os.path.join(directory, IMAGES), runtime.paths.container(container.id)
    for made in (directory, images):
        await asyncio.to_thread(os.mkdir, made, 0o700)
    async with container.sandbox.criu:
        with step("checkpoint.dump", container.id):
            await runtime.handler_of(container).runtime.checkpoint(container.id, images, directory)
    with step("checkpoint.files", container.id):
        await runtime.images.pack_changes(f"{own}/upper", os.path.join(directory, ROOTFS_DIFF))
        if await asyncio.to_thread(os.listdir, f"{own}/volumes"):
            await runtime.images.pack_changes(f"{own}/volumes", os.path.join(directory, VOLUMES))
        await asyncio.to_thread(_capture_rest, container, f"{own}/upper", directory)


def _capture_rest(container: Container, upper: str, directory: str) -> None:
    _write_json(os.path.join(directory, DELETED), list(_deleted(upper)))
    log = container.facts.log_path
    if log and os.path.exists(log):
        shutil.copyfile(log, os.path.join(directory, LOG))


def describe(runtime: Runtime, container: Container, directory: str) -> None:
    """Adds what is to be known of the container. Blocking."""
    config, facts = container.config, container.facts
    dump = ConfigDump(
        id=container.id,
        name=config.metadata.name,
        rootfs_image=facts.image_id,
        rootfs_image_ref=facts.image_id,
        rootfs_image_name=config.image.user_specified_image or config.image.image,
        runtime=runtime.handler_of(container).features.flavour,
        created_time=format_time(facts.created_at),
        checkpointed_time=format_time(now_ns()),
    )
    _write_json(os.path.join(directory, CONFIG), msgspec.to_builtins(dump))
    shutil.copyfile(f"{runtime.paths.bundle(container.id)}/config.json", os.path.join(directory, SPEC))
    _write_json(os.path.join(directory, STATUS), MessageToDict(messages.container_status(container)))
    for below, _, files in os.walk(directory):
        for name in files:
            os.chmod(os.path.join(below, name), 0o600)


def read(directory: str) -> Checkpoint:
    """Reads what is to be known of a checkpoint. Blocking. Raises InvalidArgument if it is none or lacks a part."""
    try:
        with open(os.path.join(directory, CONFIG), "rb") as file:
            config = msgspec.json.decode(file.read(), type=ConfigDump)
        with open(os.path.join(directory, SPEC), "rb") as file:
            spec = msgspec.json.decode(file.read(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidArgument(f'"{directory}" is no checkpoint of a container: {error}') from None
    if not os.path.isdir(os.path.join(directory, IMAGES)):
        raise InvalidArgument(f'"{directory}" is no checkpoint of a container: it has no directory "{IMAGES}"')
    return Checkpoint(directory, config, spec)


def check_possible(runtime: Runtime, handler: Handler) -> None:
    """Raises FailedPrecondition, saying what is missing, unless containers of this handler can be checkpointed."""
    if not handler.features.checkpoints:
        able = sorted(name for name, other in runtime.handlers.items() if other.features.checkpoints)
        hint = f"; handlers that can: {', '.join(able)}" if able else "; runc can"
        raise FailedPrecondition(
            f'the handler "{handler.runtime.name}" ({handler.runtime.program}) was built without criu and can neither '
            f"checkpoint nor restore{hint}"
        )
    if shutil.which("criu") is None:
        raise FailedPrecondition("checkpoints need criu, which is not installed: install the package criu")


def _deleted(upper: str) -> Iterator[str]:
    """Names of what is hidden by whiteouts of overlayfs."""
    for below, directories, files in os.walk(upper):
        for name in (*directories, *files):
            path = os.path.join(below, name)
            found = os.lstat(path)
            if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
                yield path.removeprefix(upper)


def _write_json(path: str, value: object) -> None:
    with open(path, "x", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
