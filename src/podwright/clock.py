"""Time. All times in records and messages are integers: nanoseconds since the Unix epoch."""

import time


def now_ns() -> int:
    """The present."""
    return time.time_ns()
