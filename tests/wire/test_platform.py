"""Which variants of an image run on a machine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.wire.platform import Platform, accepted, of_machine

V2 = ("cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3")
V3 = (*V2, "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
V4 = (*V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")

MACHINES = ("x86_64", "i686", "aarch64", "armv5tejl", "armv6l", "armv7l", "armv8l", "ppc64le", "s390x", "riscv64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64/v1"),
        ("Linux/X86_64", "linux/amd64/v1"),
        ("linux/x86-64/3", "linux/amd64/v3"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/aarch64/8", "linux/arm64/v8"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/arm/V6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("linux/loongarch64", "linux/loong64"),
        ("linux/ppc64le/power9", "linux/ppc64le/power9"),
        ("linux/riscv64", "linux/riscv64"),
        ("/amd64", "linux/amd64/v1"),
        ("windows/amd64", "windows/amd64/v1"),
        ("unknown/unknown", "unknown/unknown"),
    ],
)
def test_names_are_made_the_same(text: str, expected: str) -> None:
    assert str(Platform(*text.split("/")).normal()) == expected


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", (), "linux/amd64/v1"),
        ("x86_64", V2[1:], "linux/amd64/v1"),
        ("x86_64", V2, "linux/amd64/v2"),
        ("x86_64", V3, "linux/amd64/v3"),
        ("x86_64", V4, "linux/amd64/v4"),
        ("x86_64", (*V2, *set(V4) - set(V3)), "linux/amd64/v2"),  # a level includes those below it
        ("i686", V4, "linux/386"),
        ("aarch64", ("fp", "asimd"), "linux/arm64/v8"),
        ("armv5tejl", (), "linux/arm/v5"),
        ("armv6l", (), "linux/arm/v6"),
        ("armv7l", (), "linux/arm/v7"),
        ("armv8l", (), "linux/arm/v8"),
        ("ppc64le", (), "linux/ppc64le"),
        ("loongarch64", (), "linux/loong64"),
    ],
)
def test_a_machine_is_recognised(machine: str, flags: tuple[str, ...], expected: str) -> None:
    assert str(of_machine(machine, flags)) == expected


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", (), ["amd64/v1", "386"]),
        ("x86_64", V4, ["amd64/v4", "amd64/v3", "amd64/v2", "amd64/v1", "386"]),
        ("i686", (), ["386"]),
        ("aarch64", (), ["arm64/v8", "arm/v8", "arm/v7", "arm/v6", "arm/v5"]),
        ("armv8l", (), ["arm/v8", "arm/v7", "arm/v6", "arm/v5"]),
        ("armv7l", (), ["arm/v7", "arm/v6", "arm/v5"]),
        ("armv6l", (), ["arm/v6", "arm/v5"]),
        ("armv5tejl", (), ["arm/v5"]),
        ("armv4l", (), []),  # Go has no such platform
        ("s390x", (), ["s390x"]),
    ],
)
def test_what_runs_on_a_machine(machine: str, flags: tuple[str, ...], expected: list[str]) -> None:
    assert [str(one) for one in accepted(of_machine(machine, flags))] == [f"linux/{one}" for one in expected]


texts = st.text(st.characters(codec="ascii"), max_size=8)


@given(texts, texts, texts)
def test_what_is_normal_stays_so(os: str, architecture: str, variant: str) -> None:
    normal = Platform(os, architecture, variant).normal()
    assert normal.normal() == normal


@given(st.sampled_from(MACHINES), st.sets(st.sampled_from(V4)))
def test_a_machine_runs_its_own_images_before_others(machine: str, flags: set[str]) -> None:
    platform = of_machine(machine, flags)
    runs = accepted(platform)
    assert runs[0] == platform == platform.normal()
    assert [one.normal() for one in runs] == runs
    assert len(set(runs)) == len(runs)
