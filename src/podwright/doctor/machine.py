"""Files of the machine that is looked at: this one, or a tree that a test has made."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """A root directory, and how to read below it."""

    root: str = "/"

    def path(self, name: str) -> str:
        """Where a file with this absolute name is."""
        return os.path.join(self.root, name.lstrip("/"))

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.exists(self.path(name))

    def text(self, name: str) -> str:
        """The content without the space around it; "" if it cannot be read."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            return ""

    def number(self, name: str) -> int | None:
        """The number in a file; None if there is no such file, or no number in it."""
        try:
            return int(self.text(name))
        except ValueError:
            return None
