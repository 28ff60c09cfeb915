"""What the daemon is doing at this moment: its tasks with the chain of what they wait for, and its threads."""

import asyncio
import gc
import inspect
import sys
import threading
import traceback
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any


def dump() -> str:
    """A text for people. Call it on the event loop."""
    tasks = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = [f"{len(tasks)} tasks"]
    for task in tasks:
        lines.append(f"task {task.get_name()}")
        lines += [f"    {place}" for place in _awaiting(task.get_coro())]
    frames = sys._current_frames()  # noqa: SLF001  public in all but name (docs.python.org, sys)
    lines.append(f"{len(frames)} threads")
    for ident, frame in frames.items():
        lines.append(f"thread {names.get(ident, ident)}")
        lines += [f"    {place}" for place in _stack(frame)]
    return "\n".join(lines)


def _awaiting(coroutine: Any) -> Iterator[str]:  # noqa: ANN401  coroutines, generators and futures of any make
    """Where a coroutine is, and what it waits for, down to the future at the bottom."""
    while coroutine is not None:
        for kind, waits_for in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            code: CodeType | None = getattr(coroutine, f"{kind}_code", None)
            if code is not None:
                frame: FrameType | None = getattr(coroutine, f"{kind}_frame")
                yield f"{code.co_filename}:{frame.f_lineno if frame else code.co_firstlineno} {code.co_qualname}"
                coroutine = getattr(coroutine, waits_for)
                break
        else:
            inner = _inside(coroutine)
            if isinstance(inner, asyncio.Task):
                yield f"task {inner.get_name()}"
                return
            coroutine = inner


def _inside(wrapper: object) -> object:
    """The coroutine or task in one of the interpreter's own wrappers, which have no attribute for it."""
    return next((o for o in gc.get_referents(wrapper) if inspect.iscoroutine(o) or isinstance(o, asyncio.Task)), None)


def _stack(frame: FrameType) -> list[str]:
    return [f"{entry.filename}:{entry.lineno} {entry.name}" for entry in reversed(traceback.extract_stack(frame))]
