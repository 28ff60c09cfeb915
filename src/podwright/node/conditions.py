"""Conditions of objects: a list by type, whose times change only when the status does. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

Condition = dict[str, Any]


def condition(kind: str, *, true: bool, reason: str = "", message: str = "") -> Condition:
    """A condition without times."""
    result: Condition = {"type": kind, "status": "True" if true else "False"}
    if reason:
        result["reason"] = reason
    if message:
        result["message"] = message
    return result


def timed(new: Iterable[Condition], old: Iterable[Mapping[str, Any]], now: str) -> list[Condition]:
    """The new conditions, with the old ones' times where nothing has changed."""
    before = {item["type"]: item for item in old}
    result = []
    for item in new:
        there = before.get(item["type"])
        since = there.get("lastTransitionTime") if there and there["status"] == item["status"] else None
        result.append({**item, "lastTransitionTime": since or now})
    return result
