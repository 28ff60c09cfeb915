"""Reading a layer's blob: its digest, its bytes uncompressed, and their digest, in one pass.

Runs in the worker program (worker.py): standard library, isal and zstandard only. gzip by isal (SIMD) where there is
one, else by zlib. What the compression is, the first bytes say; media types of registries are not to be trusted.
"""

import hashlib
import os
from collections.abc import Callable
from typing import Any, Protocol, cast

from podwright.errors import InvalidArgument

PIECE = 512 << 10
"""Bytes that are read, and about the most that is inflated, at once."""
_LARGEST_ZSTD_WINDOW = 128 << 20  # RFC 8878 asks decoders for 8 MiB; `zstd --ultra --long=27` makes these


class Readable(Protocol):
    """Something with read(2)'s manners: b"" at the end."""

    def read(self, size: int, /) -> bytes: ...


class Blob:
    """A file that may still be growing. `wait` is called with the bytes that are there and returns when there are
    more.
    """

    def __init__(self, fd: int, offset: int, size: int, algorithm: str, wait: Callable[[int], int]) -> None:
        self._fd, self._offset, self._size, self._wait = fd, offset, size, wait
        self._hash = hashlib.new(algorithm)
        self._algorithm = algorithm
        self._there = 0
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The first bytes, without using them up."""
        while self._there < min(size, self._size):
            self._there = self._wait(self._there)
        return os.pread(self._fd, min(size, self._size), self._offset)

    def read(self, size: int, /) -> bytes:
        if self.position == self._size:
            return b""
        while self._there <= self.position:
            self._there = self._wait(self._there)
        wanted = min(size, self._there - self.position)
        data = os.pread(self._fd, wanted, self._offset + self.position)
        if not data:
            raise InvalidArgument("the blob is shorter than it says")
        self._hash.update(data)
        self.position += len(data)
        return data

    def digest(self) -> str:
        """Of all its bytes; reads what nobody wanted."""
        while self.read(PIECE):
            pass
        return f"{self._algorithm}:{self._hash.hexdigest()}"


def _zlib() -> Any:  # noqa: ANN401  modules with the same names in them
    """isal's SIMD zlib, or the standard one. A worker imports what its layer needs, no more."""
    try:
        from isal import isal_zlib  # noqa: PLC0415
    except ImportError:
        import zlib  # noqa: PLC0415

        return zlib
    return isal_zlib


class _Gzip:
    """All members of a gzip file; zeros after the last are no error, as with gzip(1)."""

    def __init__(self, blob: Readable) -> None:
        library = _zlib()
        self._new: Callable[[], Any] = lambda: library.decompressobj(wbits=31)
        self._error: type[Exception] = library.error
        self._blob = blob
        self._object = self._new()
        self._input = b""

    def read(self, size: int, /) -> bytes:
        while True:
            if self._object.eof:
                self._input = self._object.unused_data.lstrip(b"\0") or self._skip_zeros()
                if not self._input:
                    return b""
                self._object = self._new()
            if not self._input:
                self._input = self._blob.read(PIECE)
                if not self._input:
                    raise InvalidArgument("the layer's gzip stream is cut off")
            try:
                data: bytes = self._object.decompress(self._input, size)
            except self._error as error:
                raise InvalidArgument(f"the layer's gzip stream is damaged: {error}") from None
            self._input = self._object.unconsumed_tail
            if data:
                return data

    def _skip_zeros(self) -> bytes:
        while data := self._blob.read(PIECE):
            if rest := data.lstrip(b"\0"):
                return rest
        return b""


class _Zstd:
    """All frames of a zstd file; the skippable ones of zstd:chunked too."""

    def __init__(self, blob: Readable) -> None:
        import zstandard  # noqa: PLC0415

        self._error = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_ZSTD_WINDOW)
        self._reader = decompressor.stream_reader(cast("Any", blob), read_size=PIECE, read_across_frames=True)

    def read(self, size: int, /) -> bytes:
        try:
            return self._reader.read(size)
        except self._error as error:
            raise InvalidArgument(f"the layer's zstd stream is damaged: {error}") from None


def open_layer(blob: Blob) -> Readable:
    """The uncompressed bytes of a layer."""
    magic = blob.peek(6)
    if magic[:2] == b"\x1f\x8b":
        return _Gzip(blob)
    if magic[:4] == b"\x28\xb5\x2f\xfd" or (magic[1:4] == b"\x2a\x4d\x18" and magic[0] & 0xF0 == 0x50):
        return _Zstd(blob)
    if magic == b"\xfd7zXZ\0" or magic[:3] == b"BZh":
        raise InvalidArgument("the layer is compressed with xz or bzip2, not with gzip or zstd")
    return blob
