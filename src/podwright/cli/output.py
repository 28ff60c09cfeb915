"""How results are printed: tables for people, plain columns for pipes, JSON and YAML for programs."""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from podwright.cli.messages import plain

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Cell:
    """A text with a style of rich's."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column(Generic[Item]):
    """A column of a table, and how an item fills it."""

    title: str
    cell: Callable[[Item], Cell | str]
    wide: bool = False
    """Only shown with -o wide."""
    right: bool = False


def show(
    items: Sequence[Item],
    columns: Sequence[Column[Item]],
    form: str,
    *,
    title: str,
    identify: Callable[[Item], str],
    message: Callable[[Item], Message],
) -> None:
    """Prints a list in the form that -o asked for. `title` is the key of the list in JSON."""
    if form == "id":
        for line in dict.fromkeys(map(identify, items)):
            print(line)
    elif form in {"json", "yaml"}:
        structured({title: [plain(message(item)) for item in items]}, form)
    else:
        shown = [column for column in columns if form == "wide" or not column.wide]
        table([column.title for column in shown], [[column.cell(item) for column in shown] for item in items], shown)


def structured(value: object, form: str) -> None:
    """Prints plain values as JSON or YAML."""
    if form == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    import yaml  # noqa: PLC0415

    print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell | str]], columns: Sequence[Column[Any]]) -> None:
    """Prints rows below titles; nothing is ever cut off."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich(titles, cells, columns)
        return
    lines = [list(titles), *([cell.text or "-" for cell in row] for row in cells)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
    for line in lines:
        aligned = (
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        )
        print("  ".join(aligned).rstrip())


def _rich(titles: Sequence[str], rows: Sequence[Sequence[Cell]], columns: Sequence[Column[Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title, column in zip(titles, columns, strict=True):
        drawn.add_column(title, justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(cell.text or "-", cell.style if cell.text else "dim") for cell in row))
    console = Console(highlight=False)
    needed = console.measure(drawn, options=console.options.update_width(1 << 16)).maximum
    Console(width=max(needed, console.width), highlight=False).print(drawn, crop=False)


def report(text: str) -> None:
    """A line about what is being done, for people: to stderr."""
    print(text, file=sys.stderr, flush=True)


def coloured(text: str, style: str) -> str:
    """`text` in an ANSI colour (a number such as 32, or 1;32) if stdout is a terminal that wants colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{style}m{text}\x1b[0m"
