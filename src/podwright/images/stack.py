"""From an image's diff IDs to the layers that overlayfs stacks.

Layers are unpacked by themselves, all at once. A few cannot be: one with a hard link to a file of a layer below, or
one that leaves out a directory which below is a symbolic link, or has another mode or owner than a directory that is
just made. Those are unpacked once more on top of the layers below them, and kept under their chain ID (OCI image
specification, config.md), since what they hold depends on these.
"""

import asyncio
import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence

from podwright.errors import InvalidArgument
from podwright.images.layers import Layer, Layers
from podwright.images.tasks import together
from podwright.images.unpack import Below, NeedsParents

_OPAQUE_XATTR = b"trusted.overlay.opaque"
_NOT_COMPARED = ("trusted.overlay.", "security.selinux")

Obtain = Callable[[str, str, Below | None], Awaitable[object]]
"""Sees to it that the store has a layer: its key, its diff ID, what lies below if that matters. May raise
NeedsParents.
"""


async def bring(layers: Layers, diff_ids: Sequence[str], obtain: Obtain) -> tuple[str, ...]:
    """Brings all layers into the store; returns their keys, the lowest first.

    Raises what `obtain` raises, InvalidArgument for a hard link to nothing.
    """
    alone: dict[str, bool] = {}

    async def try_alone(diff_id: str) -> None:
        try:
            await obtain(diff_id, diff_id, None)
            alone[diff_id] = True
        except NeedsParents:
            alone[diff_id] = False

    async with together() as group:
        for diff_id in dict.fromkeys(diff_ids):
            group.create_task(try_alone(diff_id))
    keys: list[str] = []
    for key, diff_id in zip(chain_keys(diff_ids), diff_ids, strict=True):
        below = layers.stack(keys)
        if alone[diff_id] and (not keys or await asyncio.to_thread(_fits, layers, diff_id, below)):
            keys.append(diff_id)
            continue
        try:
            await obtain(key, diff_id, Below(layers.directory, below))
        except NeedsParents as error:
            raise InvalidArgument(str(error)) from None
        keys.append(key)
    return tuple(keys)


def chain_keys(diff_ids: Sequence[str]) -> list[str]:
    """The key of each layer, if it has to lie on those before it."""
    keys: list[str] = []
    chain = ""
    for diff_id in diff_ids:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}" if chain else diff_id
        keys.append(f"chain:{chain}")
    return keys


def _fits(layers: Layers, key: str, below: Sequence[str]) -> bool:
    """Whether a layer that was unpacked by itself is right on top of `below`. Blocking."""
    layer = layers.get(key)
    assert layer is not None
    if layer.facts.opaque:
        return True
    if layer.facts.many_implicit:
        return False
    base = layers.directory.encode()
    places = [os.path.join(base, name.encode()) for name in below]
    return all(_agrees(layer, base, path.encode(errors="surrogateescape"), places) for path in layer.facts.implicit)


def _agrees(layer: Layer, base: bytes, path: bytes, below: Sequence[bytes]) -> bool:
    """Whether a directory that the layer leaves out is as it would be if the layer had been written over `below`."""
    own = os.path.join(base, layer.lower.encode())
    if any(_is_opaque(os.path.join(own, above)) for above in _above(path)):
        return True
    hidden = _find(path, below)
    return hidden is None or _describe(hidden) == _describe(os.path.join(own, path))


def _find(path: bytes, below: Sequence[bytes]) -> bytes | None:
    """What the layers below show at `path`; None for nothing."""
    for layer in below:
        opaque = False
        for part in [*_above(path), path]:
            place = os.path.join(layer, part)
            try:
                mode = os.lstat(place).st_mode
            except FileNotFoundError:
                break
            if part == path:
                return None if stat.S_ISCHR(mode) else place
            if not stat.S_ISDIR(mode):
                return None
            opaque = opaque or _is_opaque(place)
        if opaque:
            return None
    return None


def _above(path: bytes) -> list[bytes]:
    """The directories that lead to it, but the root."""
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]


def _is_opaque(place: bytes) -> bool:
    try:
        return os.getxattr(place, _OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _describe(place: bytes) -> tuple[int, int, int, Mapping[str, bytes]]:
    found = os.lstat(place)
    names = [name for name in os.listxattr(place, follow_symlinks=False) if not name.startswith(_NOT_COMPARED)]
    xattrs = {name: os.getxattr(place, name, follow_symlinks=False) for name in names}
    return found.st_mode, found.st_uid, found.st_gid, xattrs
