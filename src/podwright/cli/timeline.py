"""`podwright inspect --timeline`: what took how long in the life of a pod and its containers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from podwright.cli.inventory import Container, Inventory, Pod
from podwright.cli.output import Cell, Column, table
from podwright.client import Client
from podwright.errors import FailedPrecondition
from podwright.wire.cri_log import format_time

_BAR: Final = 30
"""Characters."""


@dataclass(frozen=True, slots=True)
class _Stage:
    owner: str
    name: str
    begin: float
    """Seconds since the first stage."""
    seconds: float
    error: str


def show_timelines(cri: Client, inventory: Inventory, names: Sequence[str]) -> None:
    """Prints the stages of the named pods, with those of their containers, and of the named containers.

    Raises FailedPrecondition if the runtime does not tell them.
    """
    for name in names:
        item = inventory.either(name)
        objects = [item, *(inventory.members(item) if isinstance(item, Pod) else [])]
        told = [(_owner(one), stage) for one in objects for stage in _told(cri, one)]
        told.sort(key=lambda pair: pair[1]["startedAt"])
        first = told[0][1]["startedAt"] if told else 0
        print(f"{item.full_name}{f' from {format_time(first)}' if told else ': nothing is known'}")
        _table([_stage(owner, stage, first) for owner, stage in told])


def _owner(item: Pod | Container) -> str:
    return "pod" if isinstance(item, Pod) else item.name


def _told(cri: Client, item: Pod | Container) -> Iterator[Mapping[str, Any]]:
    if isinstance(item, Pod):
        info = cri.pod_sandbox_status(item.id, verbose=True).info
    else:
        info = cri.container_status(item.id, verbose=True).info
    try:
        yield from json.loads(info["info"])["timeline"]
    except (KeyError, ValueError):
        raise FailedPrecondition("this runtime keeps no timelines: Podwright does") from None


def _stage(owner: str, told: Mapping[str, Any], first: int) -> _Stage:
    return _Stage(owner, told["stage"], (told["startedAt"] - first) / 1e9, told["seconds"], told["error"])


def _table(stages: Sequence[_Stage]) -> None:
    whole = max((stage.begin + stage.seconds for stage in stages), default=0) or 1.0
    columns: tuple[Column[_Stage], ...] = (
        Column("STAGE", lambda stage: Cell(stage.name, "bold")),
        Column("OF", lambda stage: stage.owner),
        Column("AT", lambda stage: _milliseconds(stage.begin), right=True),
        Column("TOOK", lambda stage: _milliseconds(stage.seconds), right=True),
        Column("", lambda stage: Cell(_bar(stage, whole), "red" if stage.error else "green")),
        Column("FAILED", lambda stage: stage.error),
    )
    table(stages, columns if any(stage.error for stage in stages) else columns[:-1])


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _bar(stage: _Stage, whole: float) -> str:
    before = int(stage.begin / whole * (_BAR - 1))
    length = max(round(stage.seconds / whole * _BAR), 1)
    return " " * before + "#" * min(length, _BAR - before)
