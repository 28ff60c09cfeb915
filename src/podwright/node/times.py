"""Times as the Kubernetes API writes them."""

import calendar
import time
from typing import Any


def rfc3339(time_ns: int) -> str:
    """2026-11-25T10:11:12Z; nothing for 0."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // 10**9)) if time_ns else ""


def micro(time_ns: int) -> str:
    """MicroTime: 2026-11-25T10:11:12.123456Z."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_ns // 10**9))}.{time_ns % 10**9 // 1000:06d}Z"


def seconds(text: Any) -> float:  # noqa: ANN401  YAML reads times by itself
    """Seconds since the epoch of what an API server wrote; 0 if it is none."""
    try:
        return float(calendar.timegm(time.strptime(str(text)[:19].replace(" ", "T"), "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0
