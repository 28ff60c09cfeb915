"""Requests, and stages of work: one `with step(...)` gives the log line, the duration for whoever listens, and a place
to fail in tests.

Owns no metrics and no spans: observe/ subscribes to what happens here, core/timeline.py remembers it.
"""

import contextlib
import contextvars
import errno
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from podwright.clock import now_ns
from podwright.errors import Internal, ResourceExhausted

logger = logging.getLogger("podwright.step")


@dataclass(frozen=True, slots=True)
class Step:
    """A finished stage."""

    name: str
    owner: str
    """The id of the sandbox, container or image it was done for, or empty."""
    started_ns: int
    """Nanoseconds since the epoch."""
    seconds: float
    error: BaseException | None


@dataclass(slots=True)
class Stage:
    """Where a longer work is; a failure, or a caller who asks again, is told."""

    name: str = "waiting to begin"


current_stage: contextvars.ContextVar[Stage | None] = contextvars.ContextVar("current_stage", default=None)
"""Set by whoever wants to know how far the work that it starts has come."""


@dataclass(slots=True)
class Request:
    """An RPC that is being answered, and in the end how it went."""

    method: str
    metadata: Mapping[str, str]
    """What the client's gRPC sent along."""
    seconds: float = 0.0
    code: str = "OK"
    """The name of the gRPC status."""


class RequestListener(Protocol):
    """Told of each RPC, in the task that answers it. Must be quick and must not raise."""

    def begin(self, request: Request) -> None:
        """It begins."""

    def end(self, request: Request) -> None:
        """It has ended."""


request_listeners: list[RequestListener] = []

Listener = Callable[[Step], None]

listeners: list[Listener] = []
"""Called after each step, on the thread that did it. They must be quick and must not raise."""

FAILPOINT_VARIABLE = "PODWRIGHT_FAILPOINT"
"""Set by tests only: `kill@<step>` or `kill@after:<step>` ends the daemon there by SIGKILL, `fail@<step>` raises an
OSError. Several have commas between them.
"""

_failpoints = frozenset(filter(None, os.environ.get(FAILPOINT_VARIABLE, "").split(",")))


@contextlib.contextmanager
def step(name: str, owner: str = "") -> Iterator[None]:
    """Marks a stage of work on the object `owner`, such as step("network.add", sandbox.id).

    An OSError within becomes Internal, or ResourceExhausted for a full disk, with the stage and the object in its
    message: what the kernel says alone would help nobody.
    """
    started, started_ns = time.monotonic(), now_ns()
    error: BaseException | None = None
    stage = current_stage.get()
    if stage is not None:
        stage.name = name
    try:
        if _failpoints:
            _maybe_fail(name)
        yield
        if _failpoints:
            _maybe_fail(f"after:{name}")
    except OSError as caught:
        if isinstance(caught, TimeoutError):
            error = caught
            raise
        full = caught.errno in (errno.ENOSPC, errno.EDQUOT)
        error = (ResourceExhausted if full else Internal)(f'{name} of "{owner}": {caught}')
        raise error from caught
    except BaseException as caught:
        error = caught
        raise
    finally:
        seconds = time.monotonic() - started
        if error is None:
            logger.debug("%s %.13s: done in %.1f ms", name, owner, seconds * 1000)
        else:
            logger.info("%s %.13s: failed after %.1f ms: %s", name, owner, seconds * 1000, error)
        finished = Step(name, owner, started_ns, seconds, error)
        for listener in listeners:
            listener(finished)


def _maybe_fail(name: str) -> None:
    if f"kill@{name}" in _failpoints:
        os.kill(os.getpid(), signal.SIGKILL)
    if f"fail@{name}" in _failpoints:
        raise OSError(f"failpoint {name}")
