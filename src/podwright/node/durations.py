"""Lengths of time as Go writes them: 1m0s, 1.5h, 300ms."""

import re
from typing import Final

from podwright.errors import InvalidArgument

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


def seconds(text: str, where: str) -> float:
    """Reads a duration. Raises InvalidArgument that begins with `where`."""
    if text == "0":
        return 0.0
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise InvalidArgument(f'{where}: "{text}" is no duration: write 300ms, 20s, 1m30s or 2h')
    return sum(float(part[1]) * _UNITS[part[2]] for part in parts)
