"""Numbers as people read and write them."""

import re
from typing import Final

from podwright.errors import InvalidArgument

_UNITS: Final = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}  # nanoseconds


def age(since_ns: int, now_ns: int) -> str:
    """How long ago: 45s, 5m20s, 3h5m, 6d; two units while the first is small, as kubectl does it."""
    seconds = max(0, now_ns - since_ns) // 10**9
    for unit, size, smaller, smaller_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        count, rest = divmod(seconds, size)
        if count >= 10 or (count and rest < smaller_size):
            return f"{count}{unit}"
        if count:
            return f"{count}{unit}{rest // smaller_size}{smaller}"
    return f"{seconds}s"


def size(number: int) -> str:
    """Bytes with a decimal prefix, three digits: 812 B, 4.21 MB, 73.5 GB."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.3g} {unit}" if unit != "B" else f"{number} B"


def duration(text: str) -> int:
    """Reads 90s, 1h30m, 250ms, 2d as nanoseconds. Raises InvalidArgument."""
    parts = re.findall(r"([0-9]+)(ms|[smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidArgument(f'"{text}" is no duration: write 90s, 10m, 1h30m or 2d')
    return sum(int(number) * _UNITS[unit] for number, unit in parts)
