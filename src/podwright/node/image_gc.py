"""Garbage collection of images: when their file system is fuller than one threshold, unused ones go until it is less
full than another, those that were used longest ago first.

Images of containers that are there, pinned ones, and those younger than imageMinimumGCAge are kept. With
imageMaximumGCAge, images that nobody has used for so long go in any case.
"""

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from typing import Final

from podwright.cri import v1
from podwright.errors import PodwrightError
from podwright.node.context import Node
from podwright.node.events import About

logger = logging.getLogger(__name__)

_PERIOD: Final = 300.0  # seconds, the kubelet's


@dataclass(slots=True)
class ImageGc:
    """Collects every five minutes, and when told to."""

    node: Node
    _first_seen: dict[str, float] = field(default_factory=dict)

    async def for_ever(self) -> None:
        """Collects again and again."""
        while True:
            try:
                await self.collect()
            except (PodwrightError, OSError) as error:
                logger.warning("garbage collection of images: %s", error)
            await asyncio.sleep(_PERIOD)

    async def collect(self, *, all_unused: bool = False) -> int:
        """One collection; returns the bytes that were freed. Raises what the runtime answers."""
        settings = self.node.configuration
        images = (await self.node.cri.list_images()).images
        unused = await self._unused(list(images))
        now = time.time()
        oldest = settings.duration("image_maximum_gc_age")
        freed = 0
        if oldest:
            for image in [image for image in unused if now - self._last_use(image) > oldest]:
                freed += await self._remove(image)
                unused.remove(image)
        filesystems = (await self.node.cri.image_fs_info()).image_filesystems
        disk = await asyncio.to_thread(_disk, filesystems[0].fs_id.mountpoint) if filesystems else None
        if disk is None:
            return freed
        size, free = disk
        used = 100 - free * 100 // max(size, 1)
        if used < settings.image_gc_high_threshold_percent and not all_unused:
            return freed
        wanted = size * (100 - settings.image_gc_low_threshold_percent) // 100 - free
        for image in sorted(unused, key=self._last_use):
            if freed >= wanted and not all_unused:
                break
            if now - self._first_seen[image.id] >= settings.duration("image_minimum_gc_age"):
                freed += await self._remove(image)
        if freed < wanted and not all_unused:
            about = About("Node", self.node.name, "", self.node.name)
            message = f"Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free"
            self.node.recorder.tell(about, "Warning", "FreeDiskSpaceFailed", message)
        return freed

    async def _unused(self, images: list[v1.Image]) -> list[v1.Image]:
        now = time.time()
        self._first_seen = {image.id: self._first_seen.get(image.id, now) for image in images}
        used: set[str] = set()
        for container in (await self.node.cri.list_containers()).containers:
            used |= {container.image.image, container.image_ref, container.image_id}
        return [
            image
            for image in images
            if not image.pinned and not used & {image.id, *image.repo_tags, *image.repo_digests}
        ]

    def _last_use(self, image: v1.Image) -> float:
        return max(self.node.images.used.get(image.id, 0.0), self._first_seen[image.id])

    async def _remove(self, image: v1.Image) -> int:
        logger.info("removing image %s %s: nobody uses it", image.id, " ".join(image.repo_tags))
        await self.node.cri.remove_image(image.id)
        self.node.images.used.pop(image.id, None)
        return image.size


def _disk(path: str) -> tuple[int, int] | None:
    """Size and free bytes of the file system at `path`; None if it is not on this machine. Blocks."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
