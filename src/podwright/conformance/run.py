"""Running the checks, one after the other, each on a bench of its own."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from podwright.client import Client

# The checks come into the list by being imported.
from podwright.conformance import (  # noqa: F401
    commands,
    containers,
    figures,
    images,
    lists,
    logs,
    node,
    sandboxes,
    security,
    streams,
)
from podwright.conformance.bench import Bench
from podwright.conformance.checks import CHECKS, Check, Failed, Skipped
from podwright.errors import PodwrightError

Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a check."""

    check: Check
    outcome: Outcome
    message: str
    seconds: float


def chosen(words: Sequence[str]) -> list[Check]:
    """The checks with one of the words in their area or name; all without words."""
    return [
        check
        for check in CHECKS
        if not words or any(word.lower() in f"{check.area} {check.name}".lower() for word in words)
    ]


def run(cri: Client, checks: Sequence[Check], image: str, cgroup_parent: str) -> Iterator[Result]:
    """Runs the checks; a result is there as soon as its check has ended."""
    for check in checks:
        began = time.monotonic()
        outcome, message = _run(cri, check, image, cgroup_parent)
        yield Result(check, outcome, message, time.monotonic() - began)


def _run(cri: Client, check: Check, image: str, cgroup_parent: str) -> tuple[Outcome, str]:
    """What a check leaves behind is the runtime's fault too."""
    work = Bench(cri, image, cgroup_parent)
    try:
        outcome, message = _judge(check, work)
    finally:
        left = work.close()
    if not left:
        return outcome, message
    return "failed", "; ".join([*filter(None, [message]), "what was made cannot be removed", *left])


def _judge(check: Check, work: Bench) -> tuple[Outcome, str]:
    try:
        check.body(work)
    except Skipped as skipped:
        return "skipped", str(skipped)
    except (Failed, TimeoutError) as failed:
        return "failed", str(failed)
    except PodwrightError as error:
        return "failed", f"{error.code.name}: {error}"
    except (OSError, ValueError, IndexError) as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""
