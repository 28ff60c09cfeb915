"""How much disk trees of files take, measured in the background: whoever asks gets the last measurement at once.

One tree is walked at a time, and only after somebody has asked; the walker rests between its steps and between two
walks of the same tree, so that a container with millions of files costs no more than a fraction of a core.
"""

import concurrent.futures
import contextlib
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from podwright.clock import now_ns
from podwright.kernel import libc

REFRESH_SECONDS = 30.0
"""How old a measurement may be before a question leads to a new one."""
REST = 20
"""A tree whose walk took t is walked again after REST times t at the earliest."""
STEP_SECONDS = 0.005
PAUSE_SECONDS = 0.020
"""The walker works for a step and rests for a pause, again and again."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_BELOW = libc.RESOLVE_BENEATH | libc.RESOLVE_NO_SYMLINKS | libc.RESOLVE_NO_XDEV


class TreeUsage(NamedTuple):
    """What du(1) says of a tree."""

    measured_ns: int
    size: int
    """Bytes on disk."""
    inodes: int


@dataclass(slots=True)
class _Tree:
    usage: TreeUsage | None = None
    due: float = 0.0
    walk: "concurrent.futures.Future[None] | None" = None
    roots: Sequence[str] = field(default=())


class Trees:
    """Measurements by the id of the container whose trees they are. Any thread may ask."""

    def __init__(self) -> None:
        self._trees: dict[str, _Tree] = {}
        self._lock = threading.Lock()
        self._walker = concurrent.futures.ThreadPoolExecutor(1, "podwright-trees")

    def usages(self, roots: Mapping[str, Sequence[str]], *, wait: float) -> dict[str, TreeUsage]:
        """The last measurement of the trees below the roots, by id. Those never measured are waited for, `wait`
        seconds at most; one that takes longer is left out this time. Blocking.
        """
        first = [walk for object_id, below in roots.items() if (walk := self._ask(object_id, below))]
        if first:
            concurrent.futures.wait(first, timeout=wait)
        found = {object_id: self._trees.get(object_id) for object_id in roots}
        return {object_id: tree.usage for object_id, tree in found.items() if tree and tree.usage}

    def forget(self, object_id: str) -> None:
        """Drops what is known of a container's trees."""
        with self._lock:
            self._trees.pop(object_id, None)

    def close(self) -> None:
        """Ends the walker after its present step."""
        self._trees.clear()
        self._walker.shutdown(wait=False, cancel_futures=True)

    def _ask(self, object_id: str, roots: Sequence[str]) -> "concurrent.futures.Future[None] | None":
        """Has the trees walked if it is time; returns the walk if there is no measurement yet."""
        with self._lock:
            tree = self._trees.setdefault(object_id, _Tree(roots=roots))
            if tree.walk is None and time.monotonic() >= tree.due:
                tree.walk = self._walker.submit(self._measure, object_id, tree)
            return tree.walk if tree.usage is None else None

    def _measure(self, object_id: str, tree: _Tree) -> None:
        started = time.monotonic()
        size = inodes = 0
        try:
            for blocks in _paced(_walk(tree.roots)):
                size += blocks * 512
                inodes += 1
                if self._trees.get(object_id) is not tree:  # it has gone meanwhile
                    return
            tree.usage = TreeUsage(now_ns(), size, inodes)
        finally:
            ended = time.monotonic()
            tree.due = ended + max(REFRESH_SECONDS, REST * (ended - started))
            tree.walk = None


def _paced(items: Iterator[int]) -> Iterator[int]:
    end = time.monotonic() + STEP_SECONDS
    for number, item in enumerate(items):
        yield item
        if number % 64 == 63 and time.monotonic() > end:
            time.sleep(PAUSE_SECONDS)
            end = time.monotonic() + STEP_SECONDS


def _walk(roots: Sequence[str]) -> Iterator[int]:
    """The blocks of everything below the roots, files with several names once.

    The trees are a container's, which may change them meanwhile: put a link to elsewhere where a directory was, say.
    """
    linked: set[int] = set()
    for root in roots:
        with contextlib.suppress(FileNotFoundError), _opened(os.open(root, _DIRECTORY)) as root_fd:
            stack = ["."]
            while stack:
                directory = stack.pop()
                try:
                    fd = libc.openat2(root_fd, directory, _DIRECTORY, resolve=_BELOW)
                except OSError:  # gone, no directory any more, or too deep for a path
                    continue
                with _opened(fd), os.scandir(fd) as entries:
                    for entry in entries:
                        try:
                            found = entry.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue
                        if stat.S_ISDIR(found.st_mode):
                            stack.append(f"{directory}/{entry.name}")
                        elif found.st_nlink > 1:
                            if found.st_ino in linked:
                                continue
                            linked.add(found.st_ino)
                        yield found.st_blocks


@contextlib.contextmanager
def _opened(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)
