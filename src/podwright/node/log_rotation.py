"""Rotation of container logs: a full one is renamed, the runtime opens a new one, older ones are packed and dropped.

    0.log   0.log.20261125-101112   0.log.20261125-100203.gz …

As the kubelet does it (pkg/kubelet/logs/container_log_manager.go): at most `files` of them in all; the newest rotated
one stays unpacked, for somebody may still be reading it.
"""

import asyncio
import contextlib
import gzip
import logging
import os
import shutil
import time
from dataclasses import dataclass

from podwright.client import AsyncClient
from podwright.errors import PodwrightError
from podwright.node.observed import Observed

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class LogRotation:
    """Looks after the logs of all running containers."""

    cri: AsyncClient
    observed: Observed
    largest: int
    """Bytes."""
    files: int
    period: float

    async def for_ever(self) -> None:
        """Looks again and again."""
        while True:
            await asyncio.sleep(self.period)
            logs = [
                (found.id, found.status.log_path)
                for pod in self.observed.pods.values()
                for found in pod.running
                if found.status.log_path
            ]
            for container_id, path in await asyncio.to_thread(self._full, logs):
                try:
                    await self.rotate(container_id, path)
                except (OSError, PodwrightError) as error:
                    logger.warning("log %s cannot be rotated: %s", path, error)

    def _full(self, logs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        found = []
        for container_id, path in logs:
            with contextlib.suppress(OSError):
                if os.stat(path).st_size > self.largest:
                    found.append((container_id, path))
        return found

    async def rotate(self, container_id: str, path: str) -> None:
        """Rotates one log. If the runtime does not open a new one, the old is put back."""
        await asyncio.to_thread(self._tidy, path)
        rotated = f"{path}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        os.rename(path, rotated)
        try:
            await self.cri.reopen_container_log(container_id)
        except PodwrightError:
            await asyncio.to_thread(_put_back, rotated, path)
            raise

    def _tidy(self, path: str) -> None:
        """Makes room for one more: packs what is unpacked and drops the oldest."""
        directory, name = os.path.split(path)
        rotated = sorted(
            entry for entry in os.listdir(directory) if entry.startswith(f"{name}.") and not entry.endswith(".tmp")
        )
        keep = max(0, self.files - 2)
        for entry in rotated[: max(0, len(rotated) - keep)]:
            os.unlink(f"{directory}/{entry}")
        for entry in rotated[max(0, len(rotated) - keep) :]:
            if not entry.endswith(".gz"):
                _pack(f"{directory}/{entry}")


def _put_back(rotated: str, path: str) -> None:
    if not os.path.exists(path):
        os.rename(rotated, path)


def _pack(path: str) -> None:
    temporary = f"{path}.tmp"
    with open(path, "rb") as source, gzip.open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)
    os.rename(temporary, f"{path}.gz")
    os.unlink(path)
