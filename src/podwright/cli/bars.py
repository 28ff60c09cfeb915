"""A bar for each layer of a pull, on a terminal."""

from collections.abc import Mapping
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from podwright.control import v1

_LONG_LIST = 12
"""With more layers than these, those that are done make room."""


class Bars:
    """A context manager; `show` it what is known, as often as that changes."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[digits]}"),
            TextColumn("{task.fields[state]:11}"),
            BarColumn(),
            DownloadColumn(binary_units=False),
            TransferSpeedColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, layers: Mapping[str, v1.Layer]) -> None:
        """Draws these layers."""
        for digest, layer in layers.items():
            if digest not in self._tasks:
                digits = digest.partition(":")[2][:12]
                self._tasks[digest] = self._progress.add_task("", total=layer.bytes_total, digits=digits, state="")
            self._progress.update(
                self._tasks[digest],
                completed=layer.bytes_done,
                state=layer.state,
                visible=layer.state != "done" or len(layers) <= _LONG_LIST,
            )

    def finish(self) -> None:
        """The pull is done, and with it all that was last seen on its way."""
        for task in self._progress.tasks:
            self._progress.update(task.id, completed=task.total, state="done")
