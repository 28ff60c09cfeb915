"""ImageFsInfo."""

import asyncio
import os

from podwright.clock import now_ns
from podwright.core.container_stats import written_by_all
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def image_fs_info(runtime: Runtime, _request: v1.ImageFsInfoRequest, _call: Call) -> v1.ImageFsInfoResponse:
    """What images and containers use on their file systems. All figures are set: kubelets read them without asking
    whether they are. Two mount points mean to them that images and containers have a disk each.
    """
    images, containers = runtime.paths.images, runtime.paths.containers
    of_images, of_containers, split = await asyncio.gather(
        runtime.images.filesystem_usage(),
        written_by_all(runtime),
        asyncio.to_thread(lambda: os.stat(images).st_dev != os.stat(containers).st_dev),
    )
    return v1.ImageFsInfoResponse(
        image_filesystems=[_usage(images, *of_images)],
        container_filesystems=[_usage(containers if split else images, *of_containers)],
    )


def _usage(mountpoint: str, size: int, inodes: int) -> v1.FilesystemUsage:
    return v1.FilesystemUsage(
        timestamp=now_ns(),
        fs_id=v1.FilesystemIdentifier(mountpoint=mountpoint),
        used_bytes=v1.UInt64Value(value=size),
        inodes_used=v1.UInt64Value(value=inodes),
    )
