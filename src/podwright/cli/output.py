"""How results are printed: tables for people, plain columns for pipes, JSON and YAML for programs."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from podwright.cli.messages import plain

if TYPE_CHECKING:
    from rich.table import Table

Item = TypeVar("Item")

_WIDEST: Final = 1 << 16
"""Columns, for tables to take as many as they need."""


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
        table(items, [column for column in columns if form == "wide" or not column.wide])


def structured(value: object, form: str) -> None:
    """Prints plain values as JSON or YAML."""
    if form == "json":
        print(json.dumps(value, indent=2, ensure_ascii=False))
        return
    import yaml  # noqa: PLC0415

    print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")


def table(items: Iterable[Item], columns: Sequence[Column[Item]]) -> None:
    """Prints a row for each item, below titles; nothing is ever cut off."""
    rows = _cells(items, columns)
    if sys.stdout.isatty():
        _print_drawing(rows, columns)
        return
    lines = [[column.title for column in columns], *([cell.text or "-" for cell in row] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    for line in lines:
        aligned = (
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(line, widths, columns, strict=True)
        )
        print("  ".join(aligned).rstrip())


def drawn(items: Iterable[Item], columns: Sequence[Column[Item]], width: int) -> list[str]:
    """The lines of the same table for a terminal that is so wide; what is too much at the right is cut off."""
    from rich.console import Console  # noqa: PLC0415
    from rich.segment import Segment, Segments  # noqa: PLC0415

    console = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False)
    whole = console.options.update_width(_WIDEST)
    with console.capture() as captured:
        for line in console.render_lines(_drawing(_cells(items, columns), columns), whole, pad=False):
            console.print(Segments([*line, Segment.line()]))
    return captured.get().splitlines()


def _cells(items: Iterable[Item], columns: Sequence[Column[Item]]) -> list[list[Cell]]:
    cells = ([column.cell(item) for column in columns] for item in items)
    return [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in cells]


def _print_drawing(rows: Sequence[Sequence[Cell]], columns: Sequence[Column[Any]]) -> None:
    from rich.console import Console  # noqa: PLC0415

    drawing, console = _drawing(rows, columns), Console(highlight=False)
    needed = console.measure(drawing, options=console.options.update_width(_WIDEST)).maximum
    Console(width=max(needed, console.width), highlight=False).print(drawing, crop=False)


def _drawing(rows: Sequence[Sequence[Cell]], columns: Sequence[Column[Any]]) -> "Table":
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawing = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        drawing.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        drawing.add_row(*(Text(cell.text or "-", cell.style if cell.text else "dim") for cell in row))
    return drawing


def report(text: str) -> None:
    """A line about what is being done, for people: to stderr."""
    print(text, file=sys.stderr, flush=True)


def coloured(text: str, style: str) -> str:
    """`text` in an ANSI colour (a number such as 32, or 1;32) if stdout is a terminal that wants colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{style}m{text}\x1b[0m"
