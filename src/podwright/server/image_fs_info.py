"""ImageFsInfo."""

from podwright.clock import now_ns
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def image_fs_info(runtime: Runtime, _request: v1.ImageFsInfoRequest, _call: Call) -> v1.ImageFsInfoResponse:
    """What images use on their file system. All figures are set: kubelets read them without asking whether they are."""
    used, inodes = await runtime.images.filesystem_usage()
    usage = v1.FilesystemUsage(
        timestamp=now_ns(),
        fs_id=v1.FilesystemIdentifier(mountpoint=runtime.paths.images),
        used_bytes=v1.UInt64Value(value=used),
        inodes_used=v1.UInt64Value(value=inodes),
    )
    return v1.ImageFsInfoResponse(image_filesystems=[usage])
