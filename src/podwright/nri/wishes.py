"""What plugins wish for containers other than the one that they are asked about, in one operation."""

from collections.abc import Iterable

from podwright.errors import FailedPrecondition
from podwright.nri import limits, v1
from podwright.nri.owners import Owners


class Wishes:
    """Updates, merged by container, and evictions."""

    def __init__(self, being_made: str = "") -> None:
        """`being_made` is a container that cannot be updated, since it does not exist yet."""
        self._being_made = being_made
        self.updates: dict[str, v1.ContainerUpdate] = {}
        self.evictions: list[v1.ContainerEviction] = []

    def add(
        self,
        plugin: str,
        owners: Owners,
        updates: Iterable[v1.ContainerUpdate],
        evictions: Iterable[v1.ContainerEviction],
    ) -> None:
        """Takes what one plugin wishes. Raises FailedPrecondition for a conflict that it does not want ignored."""
        for update in updates:
            if update.container_id == self._being_made:
                raise FailedPrecondition(f'NRI plugin "{plugin}" updates the container that it is to adjust')
            try:
                owners.update(plugin, update.container_id, update.linux.resources)
            except FailedPrecondition:
                if not update.ignore_failure:
                    raise
                continue
            known = self.updates.get(update.container_id)
            if known is None:
                self.updates[update.container_id] = update
            else:
                limits.override(known.linux.resources, update.linux.resources)
                known.ignore_failure = known.ignore_failure and update.ignore_failure
        self.evictions.extend(evictions)
