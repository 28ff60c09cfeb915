"""What a check found."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "fault"]
"""A fault makes pods fail; a warning makes some fail, or later."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    """What was looked at, in a word or two."""
    state: State
    text: str
    advice: str = ""
    """What to do, unless all is well."""


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(subject, "ok", text)


def warning(subject: str, text: str, advice: str) -> Finding:
    """Some pods will fail, or all may later."""
    return Finding(subject, "warning", text, advice)


def fault(subject: str, text: str, advice: str) -> Finding:
    """Pods fail."""
    return Finding(subject, "fault", text, advice)
