"""Which of an image's variants a machine can run.

OCI image index, "platform": os, architecture (Go's names), variant. What is missing there is filled in as every tool
does: the os is Linux, arm64 is v8, arm is v7, amd64 is v1.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

_OTHER_NAMES = {
    # what uname(2) and images say → Go's name, and the variant that it implies
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "loongarch64": ("loong64", ""),
}
_DEFAULT_VARIANT = {"amd64": "v1", "arm64": "v8", "arm": "v7"}
_ARM = ("v8", "v7", "v6", "v5")
_AMD64_LEVELS: tuple[tuple[str, frozenset[str]], ...] = (
    # x86-64 psABI, table 3.1, in the names of /proc/cpuinfo
    ("v2", frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})),
    ("v3", frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})),
    ("v4", frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})),
)


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and a processor."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")

    def normal(self) -> "Platform":
        """With Go's names, and with what is missing filled in."""
        name = self.architecture.lower()
        architecture, implied = _OTHER_NAMES.get(name, (name, ""))
        variant = implied or self.variant.lower() or _DEFAULT_VARIANT.get(architecture, "")
        if variant.isdigit():
            variant = f"v{variant}"
        return Platform(self.os.lower() or "linux", architecture, variant)


def of_machine(machine: str, flags: Collection[str]) -> Platform:
    """The platform of a Linux machine: uname(2)'s name of it, and the processor's flags as in /proc/cpuinfo."""
    if machine.startswith("armv"):
        return Platform("linux", "arm", machine[3:5])
    platform = Platform("linux", machine).normal()
    if platform.architecture == "amd64":
        for level, needed in _AMD64_LEVELS:
            if not needed <= set(flags):
                break
            platform = replace(platform, variant=level)
    return platform


def accepted(machine: Platform) -> list[Platform]:
    """What runs on `machine`, as `of_machine` gives it, the best first. Normal platforms."""
    match machine.architecture:
        case "amd64":
            levels = range(int(machine.variant[1:]), 0, -1)
            return [*(replace(machine, variant=f"v{level}") for level in levels), Platform(machine.os, "386")]
        case "arm64":
            return [machine, *(Platform(machine.os, "arm", older) for older in _ARM)]
        case "arm":
            return [replace(machine, variant=older) for older in _ARM if older <= machine.variant]
        case _:
            return [machine]
