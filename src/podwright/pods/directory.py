"""The directory that `podwright run` makes for a pod: logs, volumes, /etc/hosts.

    <base>/<uid>/logs/<container>/<attempt>.log
    <base>/<uid>/volumes/<name>/      emptyDir, configMap and secret volumes
    <base>/<uid>/hosts
    /dev/shm/podwright-run-<uid>/     emptyDir volumes with medium Memory

The pod carries its base as an annotation, by which `podwright rm` finds it.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from podwright.errors import Internal, InvalidArgument
from podwright.pods.schema import Volume

DEFAULT_BASE: Final = "/var/lib/podwright-run"
ANNOTATION: Final = "podwright.run/directory"

_MEMORY: Final = "/dev/shm"


@dataclass(frozen=True, slots=True)
class PodDirectory:
    """The places of one pod. Nothing is made before `make`."""

    base: str
    uid: str

    @classmethod
    def recorded(cls, annotations: Mapping[str, str], uid: str) -> "PodDirectory | None":
        """The directory of a pod of ours, None for pods of others."""
        base = annotations.get(ANNOTATION, "")
        if not os.path.isabs(base) or not uid or "/" in uid or uid in {".", ".."}:
            return None
        return cls(base, uid)

    @property
    def path(self) -> str:
        return f"{self.base}/{self.uid}"

    @property
    def logs(self) -> str:
        return f"{self.path}/logs"

    @property
    def hosts(self) -> str:
        return f"{self.path}/hosts"

    def volume(self, volume: Volume) -> str:
        """Where the volume lives."""
        memory = volume.empty_dir is not None and volume.empty_dir.medium == "Memory"
        return f"{self._memory}/{volume.name}" if memory else f"{self.path}/volumes/{volume.name}"

    @property
    def _memory(self) -> str:
        return f"{_MEMORY}/podwright-run-{self.uid}"

    def make(self) -> None:
        """Makes the directory. Raises InvalidArgument if it cannot be."""
        try:
            os.makedirs(self.path, mode=0o755)
        except OSError as error:
            raise InvalidArgument(
                f'directory "{self.path}" cannot be made: {(error.strerror or "").lower()}; choose one by --directory'
            ) from None

    def remove(self) -> None:
        """Deletes all of it; a missing directory is a success."""
        for path in (self.path, self._memory):
            try:
                shutil.rmtree(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Internal(f'directory "{path}" cannot be removed: {(error.strerror or "").lower()}') from error
