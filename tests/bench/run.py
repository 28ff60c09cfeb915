"""What measures are handed: how much to do, and where to put what they find."""

import contextlib
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from bench import peers
from bench.peers import Oci, Peer
from bench.results import Quantity, Results

T = TypeVar("T")


@dataclass(slots=True)
class Bench:
    """One run of the benchmarks."""

    oci: Oci
    quick: bool
    kinds: Sequence[type[Peer]]
    results: Results = field(default_factory=Results)

    @contextlib.contextmanager
    def peers(self) -> Iterator[list[Peer]]:
        """Fresh runtimes for a `with` block."""
        with peers.peers(self.oci, self.kinds) as made:
            for peer in made:
                self.note(peer)
            yield made

    def note(self, peer: Peer) -> None:
        """Enters a runtime that is measured."""
        self.results.about.setdefault("runtimes", {})[peer.name] = peer.version()

    def choose(self, whole: T, quick: T) -> T:
        """How much to do."""
        return quick if self.quick else whole

    def add(self, quantity: Quantity, peer: Peer, *values: float) -> None:
        """Enters samples."""
        self.results.add(quantity, peer.name, *values)

    def rounds(self, made: Sequence[T], count: int) -> Iterator[T]:
        """Each runtime `count` times, taking turns in changing order, so that the machine's moods hit both alike."""
        for _ in range(count):
            yield from random.sample(made, len(made))

    def say(self, text: str) -> None:
        """Shows progress."""
        print(text, file=sys.stderr, flush=True)
