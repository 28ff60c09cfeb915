"""Which of an image's variants a machine can run.

OCI image index, "platform": os, architecture (Go's names), variant. What is missing there is filled in as every tool
does: arm64 is v8, arm is v7, amd64 is v1.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

_ARCHITECTURES = {"x86_64": "amd64", "x86-64": "amd64", "i386": "386", "i686": "386", "aarch64": "arm64"}
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
        """With Go's names and the variant filled in."""
        architecture = _ARCHITECTURES.get(self.architecture.lower(), self.architecture.lower())
        variant = self.variant.lower() or _DEFAULT_VARIANT.get(architecture, "")
        if variant and not variant.startswith("v"):
            variant = f"v{variant}"
        return replace(self, os=self.os.lower(), architecture=architecture, variant=variant)


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
    """What runs on `machine`, a normal platform, the best first."""
    os, architecture, variant = machine.os, machine.architecture, machine.variant
    number = int(variant[1:]) if variant[1:].isdigit() else 1
    match architecture:
        case "amd64":
            found = [Platform(os, "amd64", f"v{level}") for level in range(number, 0, -1)]
            return [*found, Platform(os, "386")]
        case "arm64":
            found = [Platform(os, "arm64", f"v{level}") for level in range(number, 7, -1)]
            return [*found, *(Platform(os, "arm", older) for older in _ARM)]
        case "arm":
            return [Platform(os, "arm", older) for older in _ARM if int(older[1:]) <= number]
        case _:
            return [machine]
