"""`podwright logs`: what containers have written, read from the files that the runtime names."""

import argparse
import heapq
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from podwright.cli.connection import connect
from podwright.cli.humans import duration
from podwright.cli.inventory import Inventory
from podwright.cli.output import coloured
from podwright.client import Client
from podwright.clock import now_ns
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument, NotFound
from podwright.pods.logfile import Entry, follow, read
from podwright.wire.cri_log import Malformed, format_time, parse_time

_COLOURS: Final = ("36", "33", "35", "32", "34", "31")
_BETWEEN_QUESTIONS: Final = 0.5
"""Seconds between two questions whether a container has ended."""


@dataclass(frozen=True, slots=True)
class Printer:
    """Writes lines to the stream they were written to, from any thread."""

    timestamps: bool = False
    since_ns: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, entry: Entry, prefix: str = "") -> None:
        """Writes one line, unless it is older than wanted."""
        if isinstance(entry, Malformed):
            text, output = entry.text, sys.stderr
        elif entry.time_ns < self.since_ns:
            return
        else:
            stamp = f"{format_time(entry.time_ns)} ".encode() if self.timestamps else b""
            text, output = stamp + entry.text, sys.stdout if entry.stream == "stdout" else sys.stderr
        with self._lock:
            output.flush()
            output.buffer.write(prefix.encode() + text + b"\n")
            output.buffer.flush()


def prefixes(names: Sequence[str]) -> list[str]:
    """What stands before the lines of each of several containers; nothing if there is one."""
    if len(names) < 2:
        return [""] * len(names)
    width = max(map(len, names))
    return [coloured(f"{name:{width}} | ", colour) for name, colour in zip(names, itertools.cycle(_COLOURS))]


def logs(options: argparse.Namespace) -> int:
    """Prints the logs of a container, or of all containers of a pod in the order of time."""
    if options.tail is not None and options.tail < 0:
        raise InvalidArgument("--tail takes a number of lines")
    printer = Printer(timestamps=options.timestamps, since_ns=_since(options.since))
    with connect(options) as cri:
        inventory = Inventory.of(cri)
        found = inventory.either(options.name)
        containers = inventory.containers_of(found)
        if not containers:
            raise NotFound(f'pod "{found.full_name}" has no containers')
        if options.previous:
            containers = [inventory.previous(container) for container in containers]
        paths = [_path(cri, container.id, container.full_name) for container in containers]
        heads = prefixes([container.name for container in containers])
        if options.follow:
            followed = [
                (path, head, until_ended(cri, container.id))
                for path, head, container in zip(paths, heads, containers, strict=True)
            ]
            _follow(followed, options.tail, printer)
        else:
            for head, entry in _merged(paths, heads, options.tail):
                printer.line(entry, head)
    return 0


def until_ended(cri: Client, container_id: str) -> Callable[[float], bool]:
    """Lets some seconds pass and tells whether the container has ended. The runtime is asked now and then."""
    asked, answer = 0.0, False

    def wait(seconds: float) -> bool:
        nonlocal asked, answer
        time.sleep(seconds)
        if not answer and time.monotonic() - asked > _BETWEEN_QUESTIONS:
            asked = time.monotonic()
            try:
                answer = cri.container_status(container_id).status.state == v1.CONTAINER_EXITED
            except NotFound:
                answer = True
        return answer

    return wait


def _since(text: str | None) -> int:
    if text is None:
        return 0
    moment = parse_time(text)
    return now_ns() - duration(text) if moment is None else moment


def _path(cri: Client, container_id: str, name: str) -> str:
    path = cri.container_status(container_id).status.log_path
    if not path:
        raise FailedPrecondition(f'container "{name}" was made without a log')
    return path


def _merged(paths: Sequence[str], heads: Sequence[str], tail: int | None) -> Iterator[tuple[str, Entry]]:
    def stamped(path: str, head: str) -> Iterator[tuple[int, str, Entry]]:
        stamp = 0
        for entry in read(path, tail):
            stamp = stamp if isinstance(entry, Malformed) else max(stamp, entry.time_ns)
            yield stamp, head, entry

    streams = [stamped(path, head) for path, head in zip(paths, heads, strict=True)]
    for _, head, entry in heapq.merge(*streams, key=lambda item: item[0]):
        yield head, entry


def _follow(followed: Sequence[tuple[str, str, Callable[[float], bool]]], tail: int | None, printer: Printer) -> None:
    failures: list[Exception] = []

    def one(path: str, head: str, wait: Callable[[float], bool]) -> None:
        try:
            for entry in follow(path, tail, lambda seconds: wait(seconds) or bool(failures)):
                printer.line(entry, head)
        except Exception as error:  # noqa: BLE001  raised below, in the thread that may
            failures.append(error)

    threads = [threading.Thread(target=one, args=arguments, daemon=True) for arguments in followed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
