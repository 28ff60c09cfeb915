"""Images of this node: the one door for the rest of the runtime.

Owns which images there are and what they are called; layers.py owns their files, pull.py how they get here. Answers
come from memory; the database holds the same rows:

    image        id → its configuration and the keys of its layers
    image_name   name:tag or name@digest → id; one image has many names, a name is one image's
"""

import asyncio
import collections
import contextlib
import fnmatch
import logging
import os
from collections.abc import Callable, Iterator

import msgspec

from podwright.clock import now_ns
from podwright.errors import FailedPrecondition, InvalidArgument, NotFound, PodwrightError, ResourceExhausted
from podwright.images import archive, export, hosts
from podwright.images.layers import EMPTY_LAYERS, Layers
from podwright.images.model import Credentials, Image, ImageSettings, PullProgress, check
from podwright.images.progress import PullState
from podwright.images.pull import Pulled, Puller, this_machine
from podwright.images.registry import Http
from podwright.images.tasks import SingleFlight
from podwright.images.unpack import Feed, NeedsParents, Source, Unpacker
from podwright.state.store import Statement, Store
from podwright.trace import step
from podwright.wire import manifest, reference
from podwright.wire.manifest import ImageConfig
from podwright.wire.reference import Reference

logger = logging.getLogger(__name__)

_SWEEP_SECONDS = 3600.0


class _Record(msgspec.Struct, frozen=True):
    """The row of an image."""

    config: bytes
    layers: tuple[str, ...]
    created_ns: int
    artifact: bool = False


class Images:
    """All images. `start` it first, `close` it last."""

    def __init__(self, store: Store, settings: ImageSettings) -> None:
        """Raises InvalidArgument if the settings make no sense."""
        check(settings)
        self._store = store
        self._settings = settings
        self._layers = Layers(store, settings)
        self._http = Http(settings)
        self._unpacker = Unpacker(settings)
        self._machine = this_machine()
        self._puller = Puller(self._layers, self._http, self._unpacker, self._machine, settings)
        self._records: dict[str, _Record] = {}
        self._images: dict[str, Image] = {}
        self._names: dict[str, str] = {}
        self._pulls: SingleFlight[tuple[str, Credentials | None], str] = SingleFlight()
        self._states: list[PullState] = []
        self._leases: collections.Counter[str] = collections.Counter()
        self._sweeping: asyncio.Task[None] | None = None
        self.in_use: Callable[[str], bool] = lambda _image_id: False
        """Set by core: whether a container or a volume uses the image with this id."""

    @property
    def layers_directory(self) -> str:
        """What Image.layers are relative to."""
        return self._layers.directory

    @property
    def empty_layer(self) -> str:
        """A layer without files that no image has, for overlays that need two; relative as those of Image.layers."""
        return EMPTY_LAYERS[1]

    def registries(self) -> dict[str, str]:
        """The registries that are configured by files, each with what is wrong with them or "". Blocking."""
        found = {}
        for registry in hosts.configured(self._settings):
            try:
                hosts.endpoints(registry, self._settings)
                found[registry] = ""
            except FailedPrecondition as error:
                found[registry] = str(error)
        return found

    async def start(self) -> None:
        """Takes up what is there; an image that has lost a layer is dropped, so that it will be pulled again."""
        await self._layers.start()
        lost = []
        for image_id, raw in self._store.read("SELECT id, record FROM image"):
            assert isinstance(image_id, str) and isinstance(raw, bytes)
            record = msgspec.json.decode(raw, type=_Record)
            if all(self._layers.get(key) for key in record.layers):
                self._records[image_id] = record
            else:
                logger.warning("image %s has lost layers: it is dropped", image_id)
                lost.append(image_id)
        names = self._store.read("SELECT name, image FROM image_name")
        self._names = {str(name): str(image_id) for name, image_id in names if image_id in self._records}
        for image_id in lost:
            await self._store.write(*_forget(image_id))
        for image_id in self._records:
            self._show(image_id)
        await self._sweep()
        self._sweeping = asyncio.create_task(self._sweep_for_ever())

    async def close(self) -> None:
        """Ends what the pulls were doing; their callers have to be gone."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._layers.close()

    # ---- asking

    def find(self, name: str) -> Image | None:
        """The image of a name as users write it: short, with tag, digest or both; an id, whole or truncated, with or
        without sha256:. None if there is none. Raises InvalidArgument for what is no name, and for a truncated id
        of several images.
        """
        digits = reference.id_digits(name)
        if len(digits) == 64:
            return self._images.get(f"sha256:{digits}")
        if not name.startswith("sha256:"):
            image_id = self._names.get(_key(reference.parse(name)))
            if image_id is not None:
                return self._images[image_id]
        found = [image for image_id, image in self._images.items() if image_id.startswith(f"sha256:{digits}")]
        if not digits or not found:
            return None
        if len(found) > 1:
            raise InvalidArgument(f"image id {name!r} is ambiguous: {len(found)} images have ids that begin so")
        return found[0]

    def list_images(self) -> list[Image]:
        """All images."""
        return list(self._images.values())

    def progress(self) -> list[PullProgress]:
        """How far the pulls are that are under way."""
        return [state.show() for state in self._states]

    async def filesystem_usage(self) -> tuple[int, int]:
        """Bytes and inodes that images take on disk, half-fetched blobs included. Cheap: layers are not walked."""
        size, inodes = await asyncio.to_thread(self._layers.overhead)
        return self._layers.size + size, self._layers.inodes + inodes

    # ---- pulling and loading

    async def pull(self, name: str, given: Credentials | None = None) -> str:
        """Brings an image here, or up to date; returns its id.

        Callers with the same reference and credentials share the work; it ends when the last of them is cancelled,
        and what it has fetched is kept for the next time. Raises InvalidArgument, NotFound, Unauthenticated,
        PermissionDenied, FailedPrecondition, ResourceExhausted, or Unavailable with the reason RegistryUnavailable.
        """
        wanted = reference.parse(name)
        return await self._pulls.do((str(wanted), given), lambda: self._pull(wanted, given))

    async def _pull(self, wanted: Reference, given: Credentials | None) -> str:
        state = PullState(str(wanted))
        self._states.append(state)
        try:
            with step("image.pull", str(wanted)):
                present = self._names.get(_key(wanted))
                if present:
                    digest = await self._puller.resolve(wanted, given)
                    if self._names.get(wanted.digested(digest)) == present:
                        return present

                async def record(pulled: Pulled) -> None:
                    names = {name for name in (wanted.digested(pulled.digest), wanted.tagged()) if name}
                    await asyncio.shield(self._record(pulled, names))

                return await self._puller.pull(wanted, given, state, record)
        except PodwrightError as error:
            if str(wanted) not in str(error):
                error.add_note(f"in the pull of {str(wanted)!r}")
            if isinstance(error, ResourceExhausted):
                await self._make_room()
            raise
        finally:
            self._states.remove(state)

    async def load(self, path: str, *, name: str = "", config: bytes = b"") -> list[str]:
        """Takes images from a file or directory; returns their ids.

        `path` is an OCI layout or what `docker save` writes, each as a directory or as a tar archive, or a directory
        with a root file system, which becomes an image of one layer called `name`, with the OCI image configuration
        `config` (JSON). Raises InvalidArgument, NotFound, ResourceExhausted.
        """
        opened = archive.open_archive(path, self._layers, self._unpacker, self._machine, name=name, config=config)
        try:
            with step("image.load", path):
                async with opened as images:
                    return [
                        await archive.load(found, self._layers, self._unpacker, self._machine, self._record)
                        for found in images
                    ]
        except ResourceExhausted:
            await self._make_room()
            raise

    async def save(self, name: str, path: str) -> None:
        """Writes an image as an OCI layout; see export.py. Raises NotFound, FailedPrecondition, ResourceExhausted."""
        image = self.find(name)
        if image is None:
            raise NotFound(f"image {name!r} not found")
        if image.artifact:
            raise FailedPrecondition(f"{name!r} is an artifact, not an image: it cannot be saved as one")
        with self.lease(image.id), step("image.save", image.id):
            directories = [self._layers.path(key) for key in self._records[image.id].layers]
            await export.save(image, directories, path, self._unpacker)

    async def pack_changes(self, directory: str, output: str) -> None:
        """Writes what a container has changed, an upper directory of overlayfs, as a layer into the file `output`.

        Raises ResourceExhausted for a full disk, Internal.
        """
        await self._unpacker.pack(directory, output, layer=True)

    async def unpack_changes(self, archive_path: str, directory: str) -> None:
        """Unpacks such a layer into an empty directory. Raises InvalidArgument if it is none, ResourceExhausted."""
        size = (await asyncio.to_thread(os.stat, archive_path)).st_size
        feed = Feed(size)
        feed.advance(size)
        try:
            await self._unpacker.unpack(Source(archive_path, size), directory, feed, lambda _: None)
        except NeedsParents as error:
            raise InvalidArgument(f"{archive_path}: {error}") from None

    async def _record(self, pulled: Pulled, names: set[str]) -> None:
        """Writes an image down; its layers are there and held."""
        record = self._records.get(pulled.id) or _Record(pulled.raw_config, pulled.layers, now_ns(), pulled.artifact)
        # Memory first: between two awaits nothing may think that the layers belong to nobody.
        before = {name: self._names.get(name) for name in names}
        self._records[pulled.id] = record
        self._names.update(dict.fromkeys(names, pulled.id))
        try:
            await self._store.write(
                ("INSERT OR REPLACE INTO image VALUES (?, ?)", (pulled.id, msgspec.json.encode(record))),
                *(("INSERT OR REPLACE INTO image_name VALUES (?, ?)", (name, pulled.id)) for name in sorted(names)),
            )
        finally:
            for image_id in {pulled.id, *filter(None, before.values())}:
                self._show(image_id)

    # ---- removing

    @contextlib.contextmanager
    def lease(self, *image_ids: str) -> Iterator[None]:
        """Keeps images from being removed meanwhile: for the time until a container is known to use them."""
        self._leases.update(image_ids)
        try:
            yield
        finally:
            self._leases.subtract(image_ids)

    async def remove(self, name: str) -> None:
        """Removes an image, all its names, and the layers that no other image has; the space is free afterwards.

        Raises NotFound, and FailedPrecondition if the image is in use.
        """
        image = self.find(name)
        if image is None:
            raise NotFound(f"image {name!r} not found")
        if self._leases[image.id] > 0 or self.in_use(image.id):
            raise FailedPrecondition(f"image {name!r} ({image.id}) is in use: remove its containers first")
        with step("image.remove", image.id):
            await asyncio.shield(self._remove(image.id))

    async def _remove(self, image_id: str) -> None:
        record = self._records.pop(image_id, None)
        if record is None:  # another call was quicker
            return
        del self._images[image_id]
        self._names = {name: owner for name, owner in self._names.items() if owner != image_id}
        unneeded = set(self._layers.unneeded(self._used(), age=0))
        unused = [key for key in dict.fromkeys(record.layers) if key in unneeded]
        await self._layers.remove(unused, *_forget(image_id))

    def _used(self) -> set[str]:
        return {key for record in self._records.values() for key in record.layers}

    async def _sweep_for_ever(self) -> None:
        """Sweeps now and again; ends by cancellation."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self._sweep()
            except (PodwrightError, OSError) as error:
                logger.warning("cannot remove what is left of unfinished pulls: %s", error)

    async def _sweep(self) -> None:
        """Removes what is left over from pulls that were not tried again."""
        age = self._settings.resumable_seconds
        await asyncio.to_thread(self._layers.forget_blobs, age=age)
        await self._layers.remove(self._layers.unneeded(self._used(), age=age))

    async def _make_room(self) -> None:
        """The disk is full: gives up all that is half made."""
        await asyncio.to_thread(self._layers.forget_blobs, age=0)
        await asyncio.shield(self._layers.remove(self._layers.unneeded(self._used(), age=0)))

    # ---- what others see

    def _show(self, image_id: str) -> None:
        """Brings the Image of a record up to date."""
        record = self._records.get(image_id)
        if record is None:
            self._images.pop(image_id, None)
            return
        names = sorted(name for name, owner in self._names.items() if owner == image_id)
        layers = [layer for key in record.layers if (layer := self._layers.get(key))]
        image = self._images.get(image_id)
        self._images[image_id] = Image(
            id=image_id,
            repo_tags=tuple(name for name in names if "@" not in name),
            repo_digests=tuple(name for name in names if "@" in name),
            size=sum(layer.size for layer in layers),
            config=image.config if image else _config(record),
            layers=self._layers.stack(record.layers),
            pinned=any(_matches(name, pattern) for name in names for pattern in self._settings.pinned),
            created_ns=record.created_ns,
            artifact=record.artifact,
            raw_config=record.config,
        )


def _config(record: _Record) -> ImageConfig:
    return ImageConfig() if record.artifact else manifest.parse_config(record.config)


def _key(wanted: Reference) -> str:
    """The name that a reference is kept under: with digest and tag, the digest decides."""
    return wanted.tagged() or wanted.digested(wanted.digest)


def _matches(name: str, pattern: str) -> bool:
    """Whether a name is meant by a pattern of the configuration, in which short names may be used."""
    if fnmatch.fnmatchcase(name, pattern):
        return True
    try:
        return _key(reference.parse(pattern)) == name
    except InvalidArgument:
        return False


def _forget(image_id: str) -> list[Statement]:
    return [("DELETE FROM image WHERE id = ?", (image_id,)), ("DELETE FROM image_name WHERE image = ?", (image_id,))]
