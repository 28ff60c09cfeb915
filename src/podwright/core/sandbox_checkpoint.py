"""CheckpointPod: several containers of a pod, all at one moment, into a directory (KEP-5823).

<container's name>/  one directory a container: core/checkpoint_files.py
pod.dump             the sandbox: configuration, handler, addresses
pod.options          what tools for checkpoints of pods look for (lib/metadata.go of checkpointctl)
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Mapping, Sequence

from google.protobuf.json_format import MessageToDict

from podwright import __version__
from podwright.clock import now_ns
from podwright.core import checkpoint_files
from podwright.core.concurrent import all_of
from podwright.core.container_checkpoint import Wish, check_running, counted, wanted
from podwright.core.freeze import frozen
from podwright.core.ledger import Kind
from podwright.core.runtime import Runtime
from podwright.core.sandbox_update import present_config
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.state.records import Container, Sandbox
from podwright.trace import step
from podwright.wire.cri_log import format_time

logger = logging.getLogger(__name__)

POD_DUMP = "pod.dump"
POD_OPTIONS = "pod.options"


async def checkpoint_sandbox(runtime: Runtime, sandbox: Sandbox, container_ids: Sequence[str], path: str) -> None:
    """Writes the running containers with these ids into the directory `path`, which exists and is empty.

    All are frozen before the first is written and run on after the last; if anything fails, or the caller leaves, the
    directory is empty again. Raises InvalidArgument, FailedPrecondition, Internal with criu's words.
    """
    checkpoint_files.check_possible(runtime, runtime.handler_of(sandbox))
    if sandbox.status.phase != "ready":
        raise FailedPrecondition(f"sandbox {sandbox.title} is {sandbox.status.phase}: only a ready one is checkpointed")
    directories = _directories(sandbox, container_ids, path)
    await asyncio.to_thread(_check_directory, path)
    wish = Wish()
    work = _checkpoint(runtime, sandbox, directories, path, wish)
    await wanted(runtime, work, wish, f"checkpoint of {sandbox.title}")
    logger.info("%d containers of sandbox %s were written to %s", len(directories), sandbox.title, path)


def _directories(sandbox: Sandbox, container_ids: Sequence[str], path: str) -> dict[str, Container]:
    """The containers by the directories that they will be written to."""
    if not container_ids:
        raise InvalidArgument("container_ids is empty: name the running containers to checkpoint")
    found: dict[str, Container] = {}
    for container_id in container_ids:
        container = sandbox.containers.get(container_id)
        if container is None:
            raise InvalidArgument(f'container_ids: sandbox {sandbox.title} has no container "{container_id}"')
        check_running(container)
        name = container.config.metadata.name
        if "/" in name or name in (".", "..", POD_DUMP, POD_OPTIONS):
            raise FailedPrecondition(f'container_ids: a container called "{name}" cannot be checkpointed')
        if os.path.join(path, name) in found:
            raise InvalidArgument(f'container_ids: more than one container is called "{name}"')
        found[os.path.join(path, name)] = container
    return found


def _check_directory(path: str) -> None:
    if not os.path.isabs(path):
        raise InvalidArgument(f'output_path: "{path}" is not an absolute path')
    try:
        entries = os.listdir(path)
    except OSError as error:
        raise InvalidArgument(f'output_path: "{path}" is not a directory that can be read: {error.strerror}') from None
    if entries:
        raise InvalidArgument(f'output_path: "{path}" is not empty')


async def _checkpoint(
    runtime: Runtime, sandbox: Sandbox, directories: Mapping[str, Container], path: str, wish: Wish
) -> None:
    containers = sorted(directories.values(), key=lambda container: container.id)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(sandbox.lock)
        for container in containers:
            await stack.enter_async_context(container.lock)
            check_running(container)
        stack.enter_context(counted(sandbox))
        wish.check()
        await asyncio.to_thread(_check_directory, path)  # again: another call may have written to it meanwhile
        written = [*directories, os.path.join(path, POD_DUMP), os.path.join(path, POD_OPTIONS)]
        rows: list[tuple[Kind, Mapping[str, str]]] = [("checkpoint", {"path": entry}) for entry in written]
        await runtime.store.write(*runtime.ledger.enter(sandbox.id, *rows))
        try:
            images = {f"{directory}/{checkpoint_files.IMAGES}": c for directory, c in directories.items()}
            async with frozen(runtime, sandbox.id, images):
                await all_of([checkpoint_files.capture(runtime, c, d) for d, c in directories.items()])
            wish.check()
            with step("checkpoint.describe", sandbox.id):
                await asyncio.to_thread(_describe, runtime, sandbox, directories, path)
            wish.check()
            await runtime.ledger.give_away(sandbox.id, {"checkpoint"})
        finally:
            await runtime.ledger.release(sandbox.id, {"checkpoint"})


def _describe(runtime: Runtime, sandbox: Sandbox, directories: Mapping[str, Container], path: str) -> None:
    for directory, container in directories.items():
        checkpoint_files.describe(runtime, container, directory)
    pod = {
        "id": sandbox.id,
        "config": MessageToDict(present_config(sandbox), preserving_proto_field_name=True),
        "runtimeHandler": sandbox.facts.handler,
        "ips": sandbox.status.ips,
        "checkpointedTime": format_time(now_ns()),
    }
    names = [os.path.basename(directory) for directory in directories]
    metadata = sandbox.config.metadata
    options = {
        "version": 1,
        "containers": dict(zip(names, names, strict=True)),
        "annotations": {
            "org.criu.checkpoint.engine.name": "podwright",
            "org.criu.checkpoint.engine.version": __version__,
            "org.criu.checkpoint.pod.name": metadata.name,
            "org.criu.checkpoint.pod.namespace": metadata.namespace,
            "org.criu.checkpoint.pod.uid": metadata.uid,
            "org.criu.checkpoint.pod.id": sandbox.id,
        },
    }
    for name, document in ((POD_DUMP, pod), (POD_OPTIONS, options)):
        fd = os.open(os.path.join(path, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
