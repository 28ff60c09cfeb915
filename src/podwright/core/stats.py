"""What is kept between two questions for figures, and when it is given up: with the object that it is about."""

from podwright.cri import v1
from podwright.kernel.cgroups import Cgroups
from podwright.state.index import Index
from podwright.state.records import Container, Sandbox
from podwright.stats.meters import Meters
from podwright.stats.trees import Trees


class Stats:
    """Meters of cgroups and measurements of trees, for the objects in the index."""

    def __init__(self, cgroups: Cgroups, index: Index) -> None:
        self.meters = Meters(cgroups)
        self.trees = Trees()
        self._attributes: dict[str, bytes] = {}
        index.listeners.append(self._changed)

    def attributes(self, container: Container) -> bytes:
        """What figures of a container say of it, as a serialised ContainerAttributes."""
        found = self._attributes.get(container.id)
        if found is None:
            config = container.config
            found = self._attributes[container.id] = v1.ContainerAttributes(
                id=container.id, metadata=config.metadata, labels=config.labels, annotations=config.annotations
            ).SerializeToString()
        return found

    def forget_idle(self) -> None:
        """Gives up what nobody has asked for lately."""
        self.meters.forget_idle()

    def close(self) -> None:
        """Ends what goes on in the background."""
        self.trees.close()

    def _changed(self, what: Sandbox | Container, _before: str, after: str) -> None:
        if after not in ("running", "ready"):
            self.meters.forget(what.id)
            self.trees.forget(what.id)
            self._attributes.pop(what.id, None)
