"""Lists in portions, for the Stream* RPCs (KEP-5825): the same items as the lists, in messages of a bounded size."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

PORTION_BYTES = 1 << 20
PORTION_ITEMS = 128
"""Of items that are not kept serialised, so that their size is not known beforehand. One takes a few kilobytes."""


def portions_of_bytes(items: Iterable[bytes]) -> Iterator[bytes]:
    """Joins items, each framed as a field of the response, into responses of about a megabyte. No items, no response:
    a portion has at least one.
    """
    portion: list[bytes] = []
    size = 0
    for item in items:
        if portion and size + len(item) > PORTION_BYTES:
            yield b"".join(portion)
            portion, size = [], 0
        portion.append(item)
        size += len(item)
    if portion:
        yield b"".join(portion)


def portions(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cuts a list into short ones."""
    for start in range(0, len(items), PORTION_ITEMS):
        yield items[start : start + PORTION_ITEMS]
