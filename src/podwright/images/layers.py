"""The store of layers: a directory each, and a row that says that it is whole.

    <root>/staging/<number>/fs   being made; worthless after a crash
    <root>/layers/<number>/fs    made, then moved here, then recorded; durable.py says when it is on disk for good
    <root>/partial/…             blobs that are being fetched (download.py)

A layer's key is the digest of its uncompressed archive (diff ID), or begins with chain: where its files depend on the
layers below it, or with artifact:. Layers that no image uses are left over from unfinished pulls; they are kept for a
while, since the pull will be tried again.
"""

import asyncio
import collections
import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from podwright.clock import now_ns
from podwright.errors import Internal
from podwright.images.disk import room_for
from podwright.images.durable import Unsynced
from podwright.images.model import ImageSettings
from podwright.images.tasks import SingleFlight
from podwright.images.unpack import Unpacked
from podwright.images.usage import usage
from podwright.kernel import process, run
from podwright.state.store import Statement, Store

logger = logging.getLogger(__name__)

_CLEAN = "images.closed"
_BOOT = "images.boot"
_EMPTY = "0"
"""Holds two layers without files: one for images without layers, and one for overlays that need another."""
EMPTY_LAYERS = (f"{_EMPTY}/fs", f"{_EMPTY}/none")


class Layer(msgspec.Struct, frozen=True, array_like=True):
    """A layer that is whole: a row of the table."""

    number: int
    key: str
    size: int
    """Bytes on disk."""
    inodes: int
    added_ns: int
    facts: Unpacked

    @property
    def lower(self) -> str:
        """Its lower directory for overlayfs, relative to the directory of layers; short, since a page must hold all."""
        return f"{self.number}/fs"


class Layers:
    """All layers. `start` it before anything else."""

    def __init__(self, store: Store, settings: ImageSettings) -> None:
        self._store = store
        self._settings = settings
        self.directory = os.path.join(settings.root, "layers")
        self.partial = os.path.join(settings.root, "partial")
        self._staging = os.path.join(settings.root, "staging")
        self._layers: dict[str, Layer] = {}
        self._next = 1
        self._making: SingleFlight[str, Layer] = SingleFlight()
        self._held: collections.Counter[str] = collections.Counter()
        self._unsynced = Unsynced(store, self.directory)
        self._boot = process.boot_id()
        self._fetching: collections.Counter[str] = collections.Counter()
        self.size = 0
        self.inodes = 0

    def get(self, key: str) -> Layer | None:
        """The layer, if it is there."""
        return self._layers.get(key)

    def path(self, key: str) -> str:
        """The directory with a layer's files. Raises KeyError."""
        return os.path.join(self.directory, self._layers[key].lower)

    def stack(self, keys: Sequence[str]) -> tuple[str, ...]:
        """The lower directories of an image for overlayfs, the topmost first. `keys` begin with the lowest layer.

        A layer that comes twice hides its lower self in all; overlayfs refuses to have it twice. Nothing is seen below
        a layer that hides all.
        """
        found: dict[str, None] = {}
        for key in reversed(keys):
            layer = self._layers[key]
            found[layer.lower] = None
            if layer.facts.opaque:
                break
        return tuple(found) or EMPTY_LAYERS[:1]

    # ---- start and end

    async def start(self) -> None:
        """Takes up what is there. Layers that are half made, damaged or unknown are removed."""
        rows = self._store.read("SELECT name, value FROM fact WHERE name LIKE 'images.%'")
        facts = {str(name): str(value) for name, value in rows}
        rows = self._store.read("SELECT number, key, size, inodes, added_ns, facts FROM layer")
        power_loss = facts.get(_BOOT, self._boot) != self._boot and _CLEAN not in facts
        found, damaged = await asyncio.to_thread(self._look, rows, power_loss)
        lost = self._unsynced.load(facts, self._boot)
        damaged += [layer.number for layer in found if layer.number in lost]
        found = [layer for layer in found if layer.number not in lost]
        self._layers = {layer.key: layer for layer in found}
        self.size = sum(layer.size for layer in found)
        self.inodes = sum(layer.inodes for layer in found)
        await self._store.write(
            *(("DELETE FROM layer WHERE number = ?", (number,)) for number in damaged),
            *(self._unsynced.forget(number) for number in {*damaged, *lost}),
            ("DELETE FROM fact WHERE name = ?", (_CLEAN,)),
            ("INSERT OR REPLACE INTO fact VALUES (?, ?)", (_BOOT, self._boot)),
            durable=True,
        )
        known = {_EMPTY, *(str(layer.number) for layer in found)}
        numbers = [int(name) for name in os.listdir(self.directory) if name.isdigit()]
        self._next = max([0, *numbers, *damaged]) + 1
        unknown = [os.path.join(self.directory, name) for name in os.listdir(self.directory) if name not in known]
        await remove_trees([*unknown, *_children(self._staging)])

    def _look(self, rows: Iterable[tuple[object, ...]], power_loss: bool) -> tuple[list[Layer], list[int]]:
        for directory in (self._settings.root, self.directory, self._staging, self.partial):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        for empty in EMPTY_LAYERS:
            os.makedirs(os.path.join(self.directory, empty), exist_ok=True)
        if power_loss:
            logger.warning("the machine went down without warning: checking all layers of images")
        found, damaged = [], []
        for *row, facts in rows:
            assert isinstance(facts, bytes)
            layer = msgspec.convert([*row, json.loads(facts)], Layer)
            if self._is_whole(layer, thorough=power_loss):
                found.append(layer)
            else:
                damaged.append(layer.number)
        return found, damaged

    def _is_whole(self, layer: Layer, *, thorough: bool) -> bool:
        path = os.path.join(self.directory, layer.lower)
        if not os.path.isdir(path):
            logger.warning("the layer %s has no directory %r any more: it is dropped", layer.key, path)
            return False
        if not thorough:
            return True
        counted = usage(path)
        if (counted.inodes, counted.content) == (layer.facts.inodes, layer.facts.content):
            return True
        logger.warning("the layer %s in %r is damaged: it is dropped", layer.key, path)
        return False

    async def close(self) -> None:
        """Notes that nothing is being written."""
        await self._unsynced.close()
        await self._store.write(("INSERT OR REPLACE INTO fact VALUES (?, '')", (_CLEAN,)), durable=True)

    # ---- making

    @contextlib.contextmanager
    def held(self, keys: Collection[str]) -> Iterator[None]:
        """Keeps layers, also future ones, from being swept away meanwhile."""
        self._held.update(keys)
        try:
            yield
        finally:
            self._held.subtract(keys)

    async def obtain(self, key: str, make: Callable[[str], Awaitable[Unpacked]]) -> Layer:
        """The layer; if it is missing, `make` fills an empty directory. Callers of one key share the work.

        Raises what `make` raises, after removing what it left.
        """
        layer = self._layers.get(key)
        return layer or await self._making.do(key, lambda: self._make(key, make))

    async def _make(self, key: str, make: Callable[[str], Awaitable[Unpacked]]) -> Layer:
        number, self._next = self._next, self._next + 1
        staged = os.path.join(self._staging, str(number))
        try:
            with room_for(f"the layer {key}"):
                os.makedirs(os.path.join(staged, "fs"), mode=0o755)
                os.chmod(staged, 0o700)
                facts = await make(os.path.join(staged, "fs"))
        except BaseException:
            await asyncio.shield(remove_trees([staged]))
            raise
        own = os.lstat(staged)
        layer = Layer(number, key, facts.size + own.st_blocks * 512, facts.inodes + 1, now_ns(), facts)
        return await asyncio.shield(self._record(staged, layer))

    async def _record(self, staged: str, layer: Layer) -> Layer:
        """Makes a layer one of the store. Never cancelled: the directory and its row come together."""
        final = os.path.join(self.directory, str(layer.number))
        row = json.dumps(msgspec.to_builtins(layer.facts)).encode()  # escapes what is no UTF-8
        try:
            await asyncio.to_thread(os.rename, staged, final)
            await self._store.write(
                (
                    "INSERT INTO layer (number, key, size, inodes, added_ns, facts) VALUES (?, ?, ?, ?, ?, ?)",
                    (layer.number, layer.key, layer.size, layer.inodes, layer.added_ns, row),
                ),
                self._unsynced.add(layer.number, self._boot),
            )
        except BaseException:
            await remove_trees([staged, final])
            raise
        self._layers[layer.key] = layer
        self.size += layer.size
        self.inodes += layer.inodes
        return layer

    # ---- removing

    def unneeded(self, used: Collection[str], *, age: float) -> list[str]:
        """Keys of layers that are neither used nor held, and at least `age` seconds old."""
        latest = now_ns() - int(age * 1e9)
        return [
            key
            for key, layer in self._layers.items()
            if key not in used and self._held[key] <= 0 and layer.added_ns <= latest
        ]

    async def remove(self, keys: Iterable[str], *others: Statement) -> None:
        """Removes layers, and runs other statements in the same transaction. Their space is free afterwards."""
        layers = [self._layers.pop(key) for key in keys]
        self.size -= sum(layer.size for layer in layers)
        self.inodes -= sum(layer.inodes for layer in layers)
        rows: list[Statement] = [("DELETE FROM layer WHERE number = ?", (layer.number,)) for layer in layers]
        rows += [self._unsynced.forget(layer.number) for layer in layers]
        await self._store.write(*others, *rows, durable=True)
        await remove_trees([os.path.join(self.directory, str(layer.number)) for layer in layers])

    # ---- blobs

    @contextlib.contextmanager
    def blob(self, name: str) -> Iterator[str]:
        """The file for a blob that is being fetched; whoever asks removes it when it is used up. One that has got
        nothing goes by itself.
        """
        path = os.path.join(self.partial, name)
        self._fetching[name] += 1
        try:
            yield path
        finally:
            self._fetching[name] -= 1
            if not self._fetching[name]:
                del self._fetching[name]
                with contextlib.suppress(FileNotFoundError):
                    if os.stat(path).st_blocks == 0:
                        os.unlink(path)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[str]:
        """The path of a file that is needed for the block only, and is worthless after a crash."""
        path = os.path.join(self._staging, f"scratch-{secrets.token_hex(8)}")
        try:
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def forget_blobs(self, *, age: float) -> None:
        """Removes what is left of blobs that nobody has been fetching for `age` seconds. Blocking."""
        latest = time.time() - age
        for entry in os.scandir(self.partial):
            with contextlib.suppress(FileNotFoundError):  # it has just been used up
                if entry.name not in self._fetching and entry.stat().st_mtime <= latest:
                    os.unlink(entry.path)

    def overhead(self) -> tuple[int, int]:
        """Bytes on disk and inodes of all that is no layer: blobs that are being fetched, and the directories.
        Blocking.
        """
        empty = [os.path.join(self.directory, name) for name in (_EMPTY, *EMPTY_LAYERS)]
        own = (self._settings.root, self.directory, self._staging, self.partial, *empty)
        found = [os.lstat(path) for path in own]
        for entry in os.scandir(self.partial):
            with contextlib.suppress(FileNotFoundError):
                found.append(entry.stat(follow_symlinks=False))
        return sum(one.st_blocks for one in found) * 512, len(found)


def _children(directory: str) -> list[str]:
    return [os.path.join(directory, name) for name in os.listdir(directory)]


async def remove_trees(paths: list[str]) -> None:
    """Removes directories with all they hold, however deep: shutil.rmtree recurses, rm(1) does not. Raises Internal
    if one stays.
    """
    for path in paths:
        for _ in range(3):  # a worker that is just being killed may still be making files
            finished = await run.run(["rm", "-rf", "--one-file-system", "--", path])
            if not finished.status:
                break
        else:
            words = finished.stderr.decode(errors="replace").strip()
            raise Internal(f"cannot remove {path!r}: {words}")
