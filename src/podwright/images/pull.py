"""One pull: from a reference to layers in the store.

    resolve ─► manifest ─► configuration ─► every layer at once: download ─► unpack (follows the download) ─► recorded
                   └────── of an artifact ─► every blob at once: download ─► file ─────────────────────────────────┘

Layers that are there are not fetched; layers that another pull is making are waited for. A layer whose bytes are not
what the manifest says is fetched again from the hosts that did not send them.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from podwright.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from podwright.images import artifact, stack
from podwright.images.download import Download
from podwright.images.layers import Layers
from podwright.images.model import Credentials, ImageSettings
from podwright.images.progress import LayerState, PullState
from podwright.images.registry import Document, Http, Registry, digest_of, file_digest
from podwright.images.transport import Host
from podwright.images.unpack import Below, Feed, Source, Unpacked, Unpacker
from podwright.images.verify import verify
from podwright.trace import step
from podwright.wire import manifest
from podwright.wire.manifest import Descriptor, Manifest
from podwright.wire.platform import Platform, of_machine
from podwright.wire.reference import Reference

logger = logging.getLogger(__name__)

_DEEPEST_INDEX = 3


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A layer that is missing."""

    diff_id: str
    below: Below | None
    """What it has to be unpacked on top of, if it cannot stand alone."""
    state: LayerState


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought; its layers are in the store."""

    id: str
    raw_config: bytes
    digest: str
    """What the reference meant: the digest of a manifest or of an index."""
    layers: tuple[str, ...]
    """Keys, the lowest first."""
    artifact: bool = False
    """It is no image: the configuration is its manifest."""


Record = Callable[[Pulled], Awaitable[None]]
"""Writes an image down whose layers are in the store."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What a reference means."""

    top: Document
    """What the registry has under it: a manifest or an index."""
    document: Document
    """The manifest for this machine that it leads to."""
    manifest: Manifest
    """The same, read."""


class Puller:
    """Fetches images."""

    def __init__(
        self, layers: Layers, http: Http, unpacker: Unpacker, machine: Platform, settings: ImageSettings
    ) -> None:
        self._layers, self._http, self._unpacker, self._machine = layers, http, unpacker, machine
        self._settings = settings

    async def resolve(self, reference: Reference, given: Credentials | None) -> str:
        """The digest that a tag stands for now; empty if the registry does not tell. Raises as `pull`."""
        registry = await Registry.find(self._http, reference, given)
        try:
            document = await registry.describe(reference.version)
            if document.digest:
                await self._verify(reference, document)
            return document.digest
        finally:
            registry.close()

    async def pull(self, reference: Reference, given: Credentials | None, state: PullState, record: Record) -> str:
        """Fetches all of an image, then lets `record` write it down. Returns the image's id.

        Raises as Registry.blob, InvalidArgument for an image that is none, PermissionDenied with the reason
        SignatureValidationFailed, ResourceExhausted for a full disk.
        """
        registry = await Registry.find(self._http, reference, given)
        try:
            with step("image.resolve", str(reference)):
                resolved = await self._resolve(registry, reference.version)
                await self._verify(reference, resolved.top)
            self._check_sizes(resolved.manifest)
            work = self._image if resolved.manifest.is_image else self._artifact
            return await work(registry, resolved, state, record)
        finally:
            registry.close()

    async def _verify(self, reference: Reference, document: Document) -> None:
        settings = self._settings
        await verify(
            settings.verifiers, settings.verifier_seconds, str(reference), document.digest, document.media_type
        )

    def _check_sizes(self, found: Manifest) -> None:
        for blob in found.layers:
            if blob.size > self._settings.largest_layer:
                raise InvalidArgument(f"blob {blob.digest} has {blob.size} bytes, more than allowed")

    async def _image(self, registry: Registry, resolved: _Resolved, state: PullState, record: Record) -> str:
        found = resolved.manifest
        raw = await registry.blob(found.config)
        config = manifest.parse_config(raw)
        manifest.check_platform(config, self._machine)
        if len(config.diff_ids) != len(found.layers):
            raise InvalidArgument(
                f"image {state.reference!r} has {len(found.layers)} layers, but {len(config.diff_ids)} diff IDs"
            )
        with self._layers.held([*config.diff_ids, *stack.chain_keys(config.diff_ids)]):
            keys = await self._fetch_all(registry, config.diff_ids, found.layers, state)
            state.stage = "recording"
            pulled = Pulled(digest_of(raw), raw, resolved.top.digest, keys)
            await record(pulled)
        return pulled.id

    async def _artifact(self, registry: Registry, resolved: _Resolved, state: PullState, record: Record) -> str:
        raw, key = resolved.document.body, artifact.key(resolved.document.digest)
        files = artifact.files(resolved.manifest.layers)
        states = {blob.digest: LayerState(blob) for blob in files.values()}
        state.layers, state.stage = list(states.values()), "fetching"

        async def make(directory: str) -> Unpacked:
            return await artifact.fetch(registry, key, files, states, directory, self._layers, self._settings)

        with self._layers.held([key]):
            with step("image.fetch", state.reference):
                await self._obtain(key, make)
            state.stage = "recording"
            pulled = Pulled(digest_of(raw), raw, resolved.top.digest, (key,), artifact=True)
            await record(pulled)
        return pulled.id

    async def _fetch_all(
        self, registry: Registry, diff_ids: Sequence[str], descriptors: Sequence[Descriptor], state: PullState
    ) -> tuple[str, ...]:
        states = {diff_id: LayerState(one) for diff_id, one in zip(diff_ids, descriptors, strict=True)}
        state.layers = list(states.values())
        state.stage = "fetching"

        async def obtain(key: str, diff_id: str, below: Below | None) -> None:
            await self._layer(registry, key, _Wanted(diff_id, below, states[diff_id]))

        with step("image.fetch", state.reference):
            return await stack.bring(self._layers, diff_ids, obtain)

    async def _resolve(self, registry: Registry, version: str) -> _Resolved:
        top = document = await registry.manifest(version)
        for _ in range(_DEEPEST_INDEX):
            found = manifest.parse(document.body, document.media_type)
            if isinstance(found, Manifest):
                return _Resolved(top, document, found)
            document = await registry.manifest(manifest.choose(found, self._machine).digest)
        raise InvalidArgument(f"image {str(registry.reference)!r}: indexes are nested deeper than {_DEEPEST_INDEX}")

    async def _layer(self, registry: Registry, key: str, wanted: _Wanted) -> None:
        """Brings one layer into the store. Raises NeedsParents."""
        liars: set[Host] = set()

        async def make(directory: str) -> Unpacked:
            return await self._fetch(registry, wanted, directory, liars)

        while True:
            try:
                await self._obtain(key, make)
            except _WrongBytes as wrong:
                logger.warning("pull of %s: %s", registry.reference, wrong)
            except (InvalidArgument, ResourceExhausted) as error:
                error.add_note(f"in layer {wanted.state.descriptor.digest}")
                raise
            else:
                wanted.state.done = True
                return

    async def _obtain(self, key: str, make: Callable[[str], Awaitable[Unpacked]]) -> None:
        """Layers.obtain, but a failure of another pull is no failure of this one: it may have other credentials,
        mirrors, or a blob of its own.
        """
        while True:
            ours = False

            async def make_ours(directory: str) -> Unpacked:
                nonlocal ours
                ours = True
                return await make(directory)

            try:
                await self._layers.obtain(key, make_ours)
            except (Unauthenticated, PermissionDenied, FailedPrecondition, InvalidArgument, NotFound, Unavailable):
                if ours:
                    raise
            else:
                return

    async def _fetch(self, registry: Registry, wanted: _Wanted, directory: str, liars: set[Host]) -> Unpacked:
        """Downloads and unpacks. Raises _WrongBytes if it should be tried again, from other hosts or from the start."""
        state, descriptor = wanted.state, wanted.state.descriptor
        name = f"{descriptor.digest.partition(':')[2][:64]}.{wanted.diff_id.partition(':')[2][:16]}"
        with self._layers.blob(name) as path:
            feed = Feed(descriptor.size)
            download = Download(registry, descriptor, path, feed.advance, self._settings)
            state.download, state.unpacked = download, 0
            await asyncio.to_thread(download.prepare)
            try:
                unpacked = await self._both(download, feed, wanted, directory, liars)
            except _WrongBytes:
                await asyncio.to_thread(os.unlink, path)
                if not download.resumed:
                    liars |= download.sources
                    if not download.sources:
                        raise InvalidArgument(f"blob {descriptor.digest} cannot be empty") from None
                raise
            await asyncio.to_thread(os.unlink, path)
            if unpacked.diff_id != wanted.diff_id:
                words = f"layer {descriptor.digest} unpacks to {unpacked.diff_id}, not to {wanted.diff_id}"
                raise InvalidArgument(words)
            return unpacked

    async def _both(
        self, download: Download, feed: Feed, wanted: _Wanted, directory: str, liars: Collection[Host]
    ) -> Unpacked:
        """Downloads and unpacks at the same time."""
        expected = download.descriptor.digest
        algorithm = expected.partition(":")[0]
        source = Source(download.path, download.descriptor.size, 0, algorithm, wanted.diff_id.partition(":")[0])

        def progress(used: int) -> None:
            wanted.state.unpacked = used

        fetching = asyncio.ensure_future(download.run(liars))
        unpacking = asyncio.ensure_future(self._unpacker.unpack(source, directory, feed, progress, wanted.below))
        try:
            await asyncio.wait({fetching, unpacking}, return_when=asyncio.FIRST_EXCEPTION)
            if fetching.done():
                fetching.result()
            fault = unpacking.exception()
            if fault is None:
                digest = unpacking.result().digest
            elif isinstance(fault, InvalidArgument):  # the image's fault, or a host's that sends something else
                await fetching
                digest = await asyncio.to_thread(file_digest, download.path, expected)
            else:
                raise fault
            if digest != expected:
                raise _WrongBytes(f"blob {expected} from {', '.join(map(str, download.sources))} has digest {digest}")
            return unpacking.result()
        finally:
            fetching.cancel()
            unpacking.cancel()
            await asyncio.wait({fetching, unpacking})


class _WrongBytes(Exception):
    """A blob has another digest than its descriptor."""


def this_machine() -> Platform:
    """What images this machine runs. Blocking."""
    flags: list[str] = []
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("flags"):
                flags = line.split()
                break
    return of_machine(os.uname().machine, flags)
