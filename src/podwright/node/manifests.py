"""Pods of a directory: each file a manifest. Files that change are noticed at once, or at the latest some time later.

Owns the reading: files to pods, and to the config maps and secrets that stand beside them. A file that cannot be read
keeps the pods that it had: one that is being edited does not end them.
"""

import asyncio
import logging
import os
import stat
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podwright.errors import InvalidArgument
from podwright.kernel import libc
from podwright.node import node_pods
from podwright.node.node_pods import DEFAULT_NAMESPACE, NodePod
from podwright.pods import read
from podwright.pods.objects import Objects
from podwright.pods.schema import ConfigMap, Secret

logger = logging.getLogger(__name__)

_IN_CLOSE_WRITE, _IN_MOVED_FROM, _IN_MOVED_TO, _IN_DELETE = 0x8, 0x40, 0x80, 0x200  # inotify(7)
_LARGEST: Final = 10 << 20  # bytes, the kubelet's limit


@dataclass(slots=True)
class _File:
    """A file, as it was read last."""

    stamp: tuple[int, int, int]
    pods: list[NodePod] = field(default_factory=list)
    objects: list[ConfigMap | Secret] = field(default_factory=list)


@dataclass(slots=True)
class Manifests:
    """The manifests below a path: a directory, whose subdirectories and hidden files are passed over, or one file."""

    path: str
    node: str
    period: float
    _files: dict[str, _File] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    async def changes(self) -> AsyncIterator[list[NodePod]]:
        """All pods, each time that there may be others; the first time at once."""
        news = asyncio.Event()
        fd = self._watch()
        if fd >= 0:
            asyncio.get_running_loop().add_reader(fd, _drain, fd, news)
        try:
            before: list[str] | None = None
            while True:
                news.clear()
                pods = await asyncio.to_thread(self.look)
                uids = [pod.uid for pod in pods]
                if uids != before:
                    yield pods
                    before = uids
                try:
                    async with asyncio.timeout(self.period):
                        await news.wait()
                except TimeoutError:
                    continue
        finally:
            if fd >= 0:
                asyncio.get_running_loop().remove_reader(fd)
                os.close(fd)

    def look(self) -> list[NodePod]:
        """Reads what has changed; all pods. Blocks."""
        found = {}
        for path in self._paths():
            try:
                found[path] = self._read(path)
            except (OSError, InvalidArgument) as error:
                known = self._files.get(path) or _File((0, 0, 0))
                if known.stamp != (stamp := _stamp(path)):
                    logger.warning("manifest %s: %s", path, error)
                    known.stamp = stamp
                found[path] = known
        self._files = found
        pods: dict[str, NodePod] = {}
        for path in sorted(found):
            for pod in found[path].pods:
                if pod.full_name in pods and (path, pod.uid) not in self._told:
                    logger.warning("manifest %s: pod %s is in another file too", path, pod.full_name)
                    self._told.add((path, pod.uid))
                pods.setdefault(pod.full_name, pod)
        return list(pods.values())

    def objects(self, namespace: str) -> Objects:
        """The config maps and secrets of the files."""
        config_maps: dict[str, Mapping[str, bytes]] = {}
        secrets: dict[str, Mapping[str, bytes]] = {}
        for file in self._files.values():
            for item in file.objects:
                if (item.metadata.namespace or DEFAULT_NAMESPACE) == namespace:
                    (config_maps if isinstance(item, ConfigMap) else secrets)[item.metadata.name] = item.keys()
        return Objects(config_maps, secrets)

    def _paths(self) -> list[str]:
        if not os.path.isdir(self.path):
            return [self.path] if os.path.exists(self.path) else []
        paths = (os.path.join(self.path, name) for name in os.listdir(self.path) if not name.startswith("."))
        return sorted(path for path in paths if os.path.isfile(path))

    def _read(self, path: str) -> _File:
        stamp = _stamp(path)
        known = self._files.get(path)
        if known is not None and known.stamp == stamp:
            return known
        if stamp[1] > _LARGEST:
            raise InvalidArgument(f"is larger than {_LARGEST} bytes")
        with open(path, encoding="utf-8") as file:
            try:
                text = file.read()
            except UnicodeDecodeError:
                raise InvalidArgument("is not UTF-8") from None
        result = _File(stamp)
        for where, document in read.documents(text, path):
            self._add(result, document, path, where)
        return result

    def _add(self, file: _File, document: dict[str, Any], path: str, where: str) -> None:
        try:
            match document.get("kind"):
                case "ConfigMap":
                    file.objects.append(read.convert(document, ConfigMap))
                case "Secret":
                    file.objects.append(read.convert(document, Secret))
                case _:
                    pod = node_pods.from_manifest(document, path, self.node)
                    file.pods.append(pod)
        except InvalidArgument as error:
            logger.warning("manifest %s: %s", where, error)

    def _watch(self) -> int:
        """An inotify descriptor; -1 if there is none to be had: then only the period counts."""
        fd = -1
        try:
            fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            mask = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_DELETE
            directory = self.path if os.path.isdir(self.path) else os.path.dirname(self.path)
            libc.inotify_add_watch(fd, directory, mask)
        except OSError as error:
            logger.info("%s is only looked at every %.0f s: %s", self.path, self.period, error)
            if fd >= 0:
                os.close(fd)
            return -1
        return fd


@dataclass(frozen=True, slots=True)
class ManifestObjects:
    """What pods of files can refer to: objects of the same directory, handlers by their own names."""

    manifests: Manifests

    async def objects(self, pod: NodePod, *, fresh: bool) -> Objects:  # noqa: ARG002  they are read when files change
        """See context.ObjectSource."""
        return self.manifests.objects(pod.namespace)

    async def pull_secrets(self, pod: NodePod) -> list[Mapping[str, bytes]]:
        """See context.ObjectSource."""
        there = self.manifests.objects(pod.namespace).secrets
        return [there[wanted.name] for wanted in pod.pod.spec.image_pull_secrets if wanted.name in there]

    async def handler(self, runtime_class: str) -> str:
        """See context.ObjectSource."""
        return runtime_class


def _stamp(path: str) -> tuple[int, int, int]:
    """What changes whenever a file does."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else (0, 0, 0)


def _drain(fd: int, news: asyncio.Event) -> None:
    while True:
        try:
            os.read(fd, 1 << 16)
        except BlockingIOError:
            break
    news.set()
