"""A kubelet's back-off: the first time at once, then after 10 seconds, 20, 40, up to 5 minutes.

Times are seconds of any one clock.
"""

from dataclasses import dataclass
from typing import Final

FIRST: Final = 10.0
LONGEST: Final = 300.0


@dataclass(slots=True)
class BackOff:
    """Of one thing that is tried again, such as the start of a container."""

    first: float = FIRST
    longest: float = LONGEST
    pause: float = 0.0
    """What has to pass after the next failure."""
    _tried: float = 0.0

    def due(self, failed: float) -> float:
        """When the next try may be, after a failure at `failed`. Long without a failure: all is forgiven."""
        if failed - self._tried > 2 * self.longest:
            self.pause = 0.0
        return failed + self.pause

    def tried(self, now: float) -> None:
        """To be called with each try again."""
        self.pause = min(2 * self.pause, self.longest) if self.pause else min(self.first, self.longest)
        self._tried = now
