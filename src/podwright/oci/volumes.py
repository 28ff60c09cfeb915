"""Anonymous volumes: what an image declares as VOLUME lies outside the container's layer and begins as a copy of it.

So a container with a read-only root can write there, and overlayfs is not stacked on overlayfs.
"""

import asyncio
import os
from dataclasses import dataclass

from podwright.kernel import libc
from podwright.kernel.run import run
from podwright.oci.inputs import ContainerInput
from podwright.oci.mounts import check_container_path, clean


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume that has to be made before the container is."""

    container_path: str
    host_path: str


def declared(container: ContainerInput) -> list[Volume]:
    """The volumes of the image, but for paths where a mount is asked for. Raises InvalidArgument for odd paths."""
    taken = {clean(mount.container_path) for mount in container.config.mounts} | {*container.sandbox.files, "/dev/shm"}
    found: dict[str, Volume] = {}
    for path in sorted(container.image.volumes):
        check_container_path("volumes of the image", path)
        if clean(path) not in taken:
            found[clean(path)] = Volume(clean(path), f"{container.volumes}/{len(found)}")
    return list(found.values())


async def make(volume: Volume, rootfs: str) -> None:
    """Makes the directory of a volume, with what the image has at its path, owners and all.

    No symbolic link of the image leads outside `rootfs`. Raises Internal if the copy fails, OSError.
    """
    source = await asyncio.to_thread(_prepare, volume, rootfs)
    if source is None:
        return
    try:
        path = f"/proc/{os.getpid()}/fd/{source}/."
        copied = await run(["cp", "--archive", "--reflink=auto", "--one-file-system", "--", path, volume.host_path])
        copied.check(f'cannot copy "{volume.container_path}" of the image to its volume')
    finally:
        os.close(source)


def _prepare(volume: Volume, rootfs: str) -> int | None:
    """Makes the empty directory; returns a descriptor of the image's, where it has one."""
    os.makedirs(volume.host_path, mode=0o755)
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = libc.RESOLVE_IN_ROOT | libc.RESOLVE_NO_MAGICLINKS
        return libc.openat2(root, volume.container_path, os.O_PATH | os.O_DIRECTORY, resolve=how)
    except (FileNotFoundError, NotADirectoryError):
        return None
    finally:
        os.close(root)
