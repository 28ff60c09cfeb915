"""RestorePod: a sandbox and its containers out of what CheckpointPod has written (KEP-5823).

The directory of one container, unpacked from an archive of CheckpointContainer, is a checkpoint of a pod too: of a pod
with this container.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Mapping

from podwright.core import checkpoint_files
from podwright.core.checkpoint_files import Checkpoint
from podwright.core.container_create import make_container
from podwright.core.runtime import Handler, Runtime
from podwright.core.sandbox_remove import remove_by_id
from podwright.core.sandbox_run import make_sandbox
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument, NotFound, PodwrightError
from podwright.images.model import Image
from podwright.oci import namespaces, validate
from podwright.state.records import sandbox_name

logger = logging.getLogger(__name__)


async def restore_sandbox(runtime: Runtime, request: v1.RestorePodRequest) -> str:
    """Makes the sandbox, ready, and its containers, created; returns its id. On failure nothing of it is left.

    Asking again for the same sandbox joins the work under way or takes its result (operations.py). Raises
    InvalidArgument if the checkpoint is none or does not fit the configurations, NotFound for an image that is not on
    the node, FailedPrecondition if the host cannot, and what making a sandbox raises.
    """
    handler = runtime.handler(request.runtime_handler)
    checkpoint_files.check_possible(runtime, handler)
    validate.sandbox(request.config, runtime.host, handler.features)
    if namespaces.has_user_namespace(request.config.linux.security_context.namespace_options):
        raise FailedPrecondition("pods with a user namespace of their own cannot be restored")
    checkpoints = await asyncio.to_thread(_read, request.checkpoint_path, handler)
    configs = _by_name(request.container_configs)
    if configs.keys() != checkpoints.keys():
        raise InvalidArgument(
            f"container_configs: the checkpoint has the containers {', '.join(sorted(checkpoints))}, "
            f"not {', '.join(sorted(configs))}"
        )
    images = {
        name: _image(runtime, request.config, config, checkpoints[name], handler) for name, config in configs.items()
    }
    with contextlib.ExitStack() as leases:
        for image in images.values():
            leases.enter_context(runtime.images.lease(image.id))
        sandbox_id = await runtime.operations.make(
            sandbox_name(request.config.metadata),
            request.SerializeToString(deterministic=True),
            lambda: _make(runtime, request, handler, checkpoints, images),
            lambda sandbox_id: remove_by_id(runtime, sandbox_id),
        )
    sandbox = runtime.index.sandboxes[sandbox_id]  # nobody who did not know of it can have removed it
    runtime.index.show(sandbox)
    for container in sandbox.containers.values():
        runtime.index.show(container)
    return sandbox_id


def _read(path: str, handler: Handler) -> dict[str, Checkpoint]:
    """The checkpoints of containers in a directory, by the containers' names."""
    if not os.path.isabs(path):
        raise InvalidArgument(f'checkpoint_path: "{path}" is not an absolute path')
    try:
        with os.scandir(path) as entries:
            directories = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        raise InvalidArgument(f'checkpoint_path: "{path}" cannot be read: {error.strerror}') from None
    if not directories:
        raise InvalidArgument(f'checkpoint_path: "{path}" has no checkpoint of a container in it')
    found = [checkpoint_files.read(directory) for directory in directories]
    for checkpoint in found:
        if checkpoint.config.runtime != handler.features.flavour:
            raise InvalidArgument(
                f'checkpoint_path: the checkpoint of "{checkpoint.name}" was made by {checkpoint.config.runtime}, '
                f'but runtime_handler "{handler.runtime.name}" is {handler.features.flavour}'
            )
    return {checkpoint.name: checkpoint for checkpoint in found}


def _by_name(configs: Iterable[v1.ContainerConfig]) -> dict[str, v1.ContainerConfig]:
    found: dict[str, v1.ContainerConfig] = {}
    for config in configs:
        if config.metadata.name in found:
            raise InvalidArgument(f'container_configs: "{config.metadata.name}" is there twice')
        found[config.metadata.name] = config
    return found


def _image(
    runtime: Runtime,
    sandbox: v1.PodSandboxConfig,
    config: v1.ContainerConfig,
    checkpoint: Checkpoint,
    handler: Handler,
) -> Image:
    validate.container(config, sandbox, handler.features)
    image = runtime.images.find(config.image.image)
    if image is None:
        raise NotFound(f'image "{config.image.image}" is not on this node: pull it first')
    if image.id != checkpoint.config.rootfs_image:
        raise InvalidArgument(
            f'container_configs["{checkpoint.name}"].image: "{config.image.image}" is {image.id}, but the checkpoint '
            f"was made with {checkpoint.config.rootfs_image}"
        )
    return image


async def _make(
    runtime: Runtime,
    request: v1.RestorePodRequest,
    handler: Handler,
    checkpoints: Mapping[str, Checkpoint],
    images: Mapping[str, Image],
) -> str:
    sandbox_id = await make_sandbox(runtime, request.config, request.runtime_handler, handler, restoring=True)
    sandbox = runtime.index.sandboxes[sandbox_id]
    try:
        for config in request.container_configs:
            name = config.metadata.name
            await make_container(runtime, sandbox, config, images[name], handler, checkpoints[name])
        await runtime.index.update_sandbox(sandbox, restoring=False)
    except BaseException as error:
        try:
            await remove_by_id(runtime, sandbox_id)
        except PodwrightError as undo:
            error.add_note(f"and it could not be undone yet: {undo}")
        raise
    logger.info("sandbox %s was restored from %s", sandbox.title, request.checkpoint_path)
    return sandbox_id
