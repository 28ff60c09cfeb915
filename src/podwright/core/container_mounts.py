"""What images give a container: its root file system, and the images that it has as volumes.

Each is an overlay of the image's layers, entered in the ledger by container_create.py. Blocking.
"""

import os
from collections.abc import Mapping, Sequence

from podwright.core import view
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import FailedPrecondition, Internal, InvalidArgument, NotFound
from podwright.images.model import Image
from podwright.kernel import mounts
from podwright.oci.mounts import IMAGE_VOLUME_REASON as REASON
from podwright.oci.mounts import image_source
from podwright.state.records import Container


def find_image(runtime: Runtime, name: str) -> Image:
    """The image that a container is made of. Raises NotFound, FailedPrecondition."""
    image = runtime.images.find(name)
    if image is None:
        raise NotFound(f'image "{name}" is not on this node: pull it first')
    if image.artifact:
        raise FailedPrecondition(f'"{name}" is an artifact, not an image: it can only be mounted as a volume')
    return image


def find_volumes(runtime: Runtime, config: v1.ContainerConfig) -> dict[int, Image]:
    """The images that are mounted as volumes, by their places in config.mounts. Raises NotFound."""
    found = {}
    for number, mount in enumerate(config.mounts):
        if mount.image.image:
            image = runtime.images.find(mount.image.image)
            if image is None:
                message = f'mounts[{number}].image: "{mount.image.image}" is not on this node: pull it first'
                raise NotFound(message, reason=REASON)
            found[number] = image
    return found


def make_host_paths(config: v1.ContainerConfig) -> None:
    """Makes the host paths of volumes that do not exist. They stay: they are the pod's, like all that is below them.

    Raises InvalidArgument where there can be no directory.
    """
    for number, mount in enumerate(config.mounts):
        if mount.host_path and not os.path.lexists(mount.host_path):
            try:
                os.makedirs(mount.host_path, 0o755, exist_ok=True)
            except OSError as error:
                raise InvalidArgument(f'mounts[{number}].host_path: "{mount.host_path}": {error.strerror}') from None


def mount_rootfs(runtime: Runtime, container: Container, image: Image) -> None:
    """Mounts the container's root file system on its directories."""
    own = runtime.paths.container(container.id)
    upper = f"{own}/upper"
    if not container.facts.restores:
        # overlayfs shows the upper directory as the root, so it has to look like the image's.
        root = os.stat(os.path.join(runtime.images.layers_directory, image.layers[0]))
        os.chown(upper, root.st_uid, root.st_gid)
        os.chmod(upper, root.st_mode & 0o7777)
    if _user_namespace(runtime, container) is not None:
        for directory in (upper, f"{own}/work", f"{own}/volumes"):
            os.chown(directory, *view.root_of(container.sandbox.config))
    _overlay(runtime, container, image.layers, runtime.paths.rootfs(container.id), own)


def mount_volumes(runtime: Runtime, container: Container, volumes: Mapping[int, Image]) -> dict[int, str]:
    """Mounts images read-only; returns the host paths to show in the container, by their places in config.mounts.

    Raises InvalidArgument for a sub path that is no directory of the image, Internal, both with the reason
    ImageVolumeMountFailed.
    """
    sources = {}
    for number, image in volumes.items():
        target = runtime.paths.image_volume(container.id, number)
        os.mkdir(target)
        # overlayfs without an upper directory wants two layers.
        layers = image.layers if len(image.layers) > 1 else (*image.layers, runtime.images.empty_layer)
        mount = container.config.mounts[number]
        try:
            _overlay(runtime, container, layers, target)
        except OSError as error:
            message = f'mounts[{number}].image: "{mount.image.image}" cannot be mounted: {error}'
            raise Internal(message, reason=REASON) from error
        sources[number] = image_source(f"mounts[{number}]", target, mount.image_sub_path)
    return sources


def _overlay(runtime: Runtime, container: Container, layers: Sequence[str], target: str, own: str = "") -> None:
    """Stacks layers, with the container's upper directory where `own` has one."""
    base, mapped = runtime.images.layers_directory, ""
    userns = _user_namespace(runtime, container)
    if userns is not None:
        mapped = runtime.paths.mapped_layers(container.id)
        base, layers = mapped, _map_layers(base, layers, userns, mapped)
    upper, work = (f"{own}/upper", f"{own}/work") if own else ("", "")
    mounts.overlay(target, base=base, lowerdirs=layers, upperdir=upper, workdir=work)
    if mapped:
        mounts.umount(mapped)


def _user_namespace(runtime: Runtime, container: Container) -> str | None:
    return view.pins(runtime.paths, container.sandbox.id, container.sandbox.config).get("user")


def _map_layers(base: str, layers: Sequence[str], userns: str, target: str) -> list[str]:
    """Shows the layers below `target` with the owners that the user namespace maps them to: overlayfs itself cannot be
    id-mapped, its layers can (Linux 5.19). It keeps them, so these mounts are for the moment of mounting only.
    """
    os.makedirs(target, exist_ok=True)
    mounts.make_private(target)  # one mount with all the others on it: one umount takes all away
    for number, layer in enumerate(layers):
        os.makedirs(f"{target}/{number}", exist_ok=True)
        mounts.idmapped_bind(f"{base}/{layer}", f"{target}/{number}", userns)
    return [str(number) for number in range(len(layers))]
