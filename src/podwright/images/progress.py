"""How far pulls are, kept up to date by those who do the work and shown to people."""

from dataclasses import dataclass, field

from podwright.clock import now_ns
from podwright.images.download import Download
from podwright.images.model import LayerProgress, PullProgress
from podwright.wire.manifest import Descriptor


@dataclass(slots=True)
class LayerState:
    """How far a layer is; changes while it is pulled."""

    descriptor: Descriptor
    download: Download | None = None
    unpacked: int = 0
    done: bool = False

    def show(self) -> LayerProgress:
        """A picture of it."""
        size = self.descriptor.size
        got = size if self.done else self.download.done if self.download else 0
        state = "done" if self.done else "unpacking" if self.unpacked else "downloading" if self.download else "waiting"
        return LayerProgress(self.descriptor.digest, state, got, size if self.done else self.unpacked, size)


@dataclass(slots=True)
class PullState:
    """How far a pull is; changes while it runs."""

    reference: str
    started_ns: int = field(default_factory=now_ns)
    stage: str = "resolving"
    layers: list[LayerState] = field(default_factory=list)

    def show(self) -> PullProgress:
        """A picture of it."""
        return PullProgress(self.reference, self.started_ns, self.stage, tuple(layer.show() for layer in self.layers))
