"""Stages of work: one `with step(...)` gives the log line, the duration for whoever listens, and a place to fail in
tests.

Owns no metrics and no spans: observe/ subscribes to what happens here.
"""

import contextlib
import contextvars
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

logger = logging.getLogger("podwright.step")


@dataclass(frozen=True, slots=True)
class Step:
    """A finished stage."""

    name: str
    owner: str
    """The id of the sandbox, container or image it was done for, or empty."""
    seconds: float
    error: BaseException | None


@dataclass(slots=True)
class Stage:
    """Where a longer work is; a failure, or a caller who asks again, is told."""

    name: str = "waiting to begin"


current_stage: contextvars.ContextVar[Stage | None] = contextvars.ContextVar("current_stage", default=None)
"""Set by whoever wants to know how far the work that it starts has come."""

Listener = Callable[[Step], None]

listeners: list[Listener] = []
"""Called after each step, on the thread that did it. They must be quick and must not raise."""

FAILPOINT_VARIABLE = "PODWRIGHT_FAILPOINT"
"""Set by tests only: `kill@<step>` or `kill@after:<step>` ends the daemon there by SIGKILL, `fail@<step>` raises an
OSError.
"""

_failpoint = os.environ.get(FAILPOINT_VARIABLE, "")


@contextlib.contextmanager
def step(name: str, owner: str = "") -> Iterator[None]:
    """Marks a stage of work on the object `owner`, such as step("network.add", sandbox.id)."""
    started = time.monotonic()
    error: BaseException | None = None
    stage = current_stage.get()
    if stage is not None:
        stage.name = name
    try:
        if _failpoint:
            _maybe_fail(name)
        yield
        if _failpoint:
            _maybe_fail(f"after:{name}")
    except BaseException as caught:
        error = caught
        raise
    finally:
        seconds = time.monotonic() - started
        if error is None:
            logger.debug("%s %.13s: done in %.1f ms", name, owner, seconds * 1000)
        else:
            logger.info("%s %.13s: failed after %.1f ms: %s", name, owner, seconds * 1000, error)
        finished = Step(name, owner, seconds, error)
        for listener in listeners:
            listener(finished)


def _maybe_fail(name: str) -> None:
    if _failpoint == f"kill@{name}":
        os.kill(os.getpid(), signal.SIGKILL)
    if _failpoint == f"fail@{name}":
        raise OSError(f"failpoint {name}")
