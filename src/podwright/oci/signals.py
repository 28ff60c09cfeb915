"""Stop signals: names in CRI and in image configurations, numbers in the kernel."""

import signal
from dataclasses import dataclass
from typing import cast

from podwright.cri import v1
from podwright.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class StopSignal:
    """A signal."""

    number: int
    """As kill(2) takes it."""
    cri: v1.Signal
    """As ContainerStatus.stop_signal shows it."""


def stop_signal(wanted: v1.Signal, image: str, notes: list[str]) -> StopSignal:
    """The signal that asks a container to end: the CRI's wish, or the image's, or SIGTERM.

    Nobody checks StopSignal when an image is built; one that names no signal counts as absent, and `notes` gets a
    line. Raises InvalidArgument for a CRI signal that is none.
    """
    check(wanted)
    if wanted != v1.SIGNAL_RUNTIME_DEFAULT:
        return StopSignal(_NUMBERS[wanted], wanted)
    number = int(signal.SIGTERM)
    if image:
        try:
            number = parse(image)
        except ValueError:
            notes.append(f'the image\'s stop signal "{image}" is unknown: SIGTERM is sent')
    return StopSignal(number, _CRI[number])


def check(wanted: v1.Signal) -> None:
    """Raises InvalidArgument for a number that is no CRI signal, or none of this architecture."""
    if wanted not in _NUMBERS and wanted != v1.SIGNAL_RUNTIME_DEFAULT:
        raise InvalidArgument(f"stop_signal: there is no signal {wanted}")


def parse(text: str) -> int:
    """The number of a signal written as 15, TERM, SIGTERM, sigterm, SIGRTMIN+3 or RTMAX-2. Raises ValueError."""
    name = text.strip().upper()
    if name.isascii() and name.isdigit() and int(name) in _CRI:
        return int(name)
    return _number(name if name.startswith("SIG") else f"SIG{name}")


def _number(name: str) -> int:
    """The number of SIGTERM, SIGRTMIN+3 and the like. Raises ValueError."""
    base, sign, offset = name[:8], name[8:9], name[9:]
    if base in ("SIGRTMIN", "SIGRTMAX") and sign:
        if sign != ("+" if base == "SIGRTMIN" else "-") or not (offset.isascii() and offset.isdigit()):
            raise ValueError(f"no signal {name}")
        number = signal.Signals[base] + int(sign + offset)
        if not signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            raise ValueError(f"no signal {name}")
        return number
    if name not in signal.Signals.__members__:
        raise ValueError(f"no signal {name}")
    return int(signal.Signals[name])


def _numbers() -> dict[v1.Signal, int]:
    """The kernel's number of each CRI signal that it has: SIGNAL_SIGRTMINPLUS3 → 37."""
    found: dict[v1.Signal, int] = {}
    for name, value in v1.Signal.items():
        try:
            found[cast("v1.Signal", value)] = _number(
                name.removeprefix("SIGNAL_").replace("PLUS", "+").replace("MINUS", "-")
            )
        except ValueError:
            continue  # SIGNAL_RUNTIME_DEFAULT, and SIGSTKFLT where the architecture lacks it
    return found


_NUMBERS = _numbers()
_CRI = {number: cri for cri, number in reversed(_NUMBERS.items())}  # of two names for a number, the first one counts
