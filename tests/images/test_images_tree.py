"""File trees: what skopeo copies in and we pull is what `umoci unpack` makes of the same image."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from podwright.testing.images import (
    Entry,
    device,
    directory,
    fifo,
    file,
    hardlink,
    image,
    layer,
    opaque,
    symlink,
    whiteout,
    write_layout,
)
from support.images import Shelf, Tree, tree
from support.registry import Skopeo, docker_registry

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed"),
]

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_bind_service=ep, as setcap(8) writes it."""
ROOT = directory("./")
BASE: Sequence[Entry] = (
    ROOT,
    directory("bin"),
    file("bin/ping", b"ping", mode=0o755, xattrs={"security.capability": CAPABILITY}),
    directory("etc", mtime=1_500_000_000),
    file("etc/passwd", b"root:x:0:0::/:/bin/sh\n", mode=0o644, mtime=1_400_000_000.25),
    file("etc/shadow", b"secret", mode=0o640, gid=42),
    symlink("etc/link", "../bin/ping", uid=5, gid=6),
    directory("home", mode=0o751),
    directory("home/user", mode=0o2770, uid=1000, gid=1000),
    file("home/user/file", b"mine", uid=1000, gid=1000, xattrs={"user.note": b"\x00\xff binary"}),
    directory("tmp", mode=0o1777),
    directory("var"),
    directory("var/lib"),
    file("var/lib/one", b"1"),
    file("var/lib/two", b"2"),
    directory("var/lib/sub", mode=0o700),
    file("var/lib/sub/three", b"3"),
)

CASES: dict[str, Sequence[Sequence[Entry]]] = {
    "modes, owners, times, xattrs, capabilities": [BASE],
    "special files": [
        [
            ROOT,
            directory("dev"),
            device("dev/null", 1, 3),
            fifo("dev/pipe", 0o620, uid=3),
            file("setuid", b"x", 0o4755, uid=9),
        ]
    ],
    "names that are not ASCII, and long ones": [
        [
            ROOT,
            file("gr\u00fc\u00dfe"),
            directory("d" * 120),
            file("d" * 120 + "/" + "f" * 200),
            symlink("l", "t" * 150),
        ]
    ],
    "hard links across directories": [
        [*BASE, hardlink("bin/again", "var/lib/one"), hardlink("home/user/third", "var/lib/one")],
        [directory("var"), directory("var/lib"), file("var/lib/new", b"n"), hardlink("bin/new", "var/lib/new")],
    ],
    "files replaced in a higher layer": [
        BASE,
        [directory("etc", mode=0o700, uid=1), file("etc/passwd", b"other", mode=0o600)],
        [symlink("etc/shadow", "passwd"), directory("var"), file("var/lib", b"a file now")],
        [directory("etc"), directory("etc/shadow"), file("etc/shadow/inside", b"i")],
    ],
    "whiteouts": [
        BASE,
        [directory("var"), directory("var/lib"), whiteout("var/lib/one"), whiteout("var/lib/sub"), whiteout("home")],
        [directory("home"), file("home/new", b"n")],
    ],
    "whiteouts of what never was": [BASE, [directory("var"), whiteout("var/nothing"), whiteout("nothing")]],
    "a whiteout beside a new directory of its name": [
        BASE,
        [directory("var"), whiteout("var/lib"), directory("var/lib"), file("var/lib/fresh", b"f")],
    ],
    "opaque directories": [
        BASE,
        [directory("var"), directory("var/lib", mode=0o711), opaque("var/lib"), file("var/lib/fresh", b"f")],
        [directory("var"), directory("var/lib"), file("var/lib/fresher", b"f")],
    ],
    "an opaque directory whose mark comes last": [
        BASE,
        [directory("var"), directory("var/lib"), file("var/lib/fresh", b"f"), opaque("var/lib")],
    ],
    "an opaque root": [BASE, [opaque(""), ROOT, directory("only"), file("only/this", b"t")]],
    "layers that come twice": [BASE, [directory("var"), whiteout("var/lib")], BASE],
    "directories left out, with an owner of their own below": [BASE, [file("home/user/new", b"n", uid=1000)]],
    "directories left out, with a sticky bit below": [BASE, [file("tmp/new", b"n")], [whiteout("tmp/new")]],
    "directories left out, which are symbolic links below": [
        [ROOT, directory("usr"), directory("usr/lib"), file("usr/lib/old", b"o"), symlink("lib", "usr/lib")],
        [file("lib/new", b"n"), whiteout("lib/old")],
    ],
    "hard links to files of a layer below": [
        BASE,
        [directory("bin"), hardlink("bin/one", "var/lib/one"), file("bin/two", b"two")],
        [directory("var"), directory("var/lib"), whiteout("var/lib/one")],
    ],
    "a layer on top with whiteouts of all kinds": [
        BASE,
        [
            hardlink("bin/one", "var/lib/one"),
            opaque("var/lib"),
            file("var/lib/fresh", b"f"),
            whiteout("home/user"),
            directory("home/user"),
            whiteout("etc/passwd"),
        ],
    ],
    "a root that is not 0755": [[directory("./", 0o711, uid=4), file("file")], [file("other")]],
}


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Skopeo]:
    """Copies images into Debian's registry."""
    for program in ("docker-registry", "skopeo"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield Skopeo(host)


@pytest.mark.parametrize("layers", CASES.values(), ids=CASES.keys())
def test_a_pulled_image_has_the_files_that_umoci_makes_of_it(
    layers: Sequence[Sequence[Entry]], skopeo: Skopeo, tmp_path: Path
) -> None:
    write_layout(str(tmp_path / "layout"), {"1": image(*(layer(*entries) for entries in layers))})
    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "--log=error", "unpack", "--image", f"{tmp_path}/layout:1", bundle], check=True)
    shelf = Shelf(tmp_path / "shelf")
    name = skopeo.copy(f"oci:{tmp_path}/layout:1", f"{tmp_path.name.replace('_', '').lower()}:1")
    ours, theirs = shelf.tree(shelf.pull(name)), tree(str(bundle / "rootfs"))
    assert _comparable(ours, layers) == _comparable(theirs, layers)


def _comparable(files: Tree, layers: Sequence[Sequence[Entry]]) -> Tree:
    """Without the times of directories that a layer has files in but leaves out: the one thing that we do not keep."""
    vague: set[str] = set()
    for entries in layers:
        names = {os.path.normpath(info.name) for info, _ in entries}
        vague -= names
        vague |= {parent for name in names for parent in _parents(name)} - names
    return {name: replace(node, mtime_ns=0) if name in vague else node for name, node in files.items()}


def _parents(name: str) -> Iterator[str]:
    while name not in ("", "."):
        name = os.path.dirname(name)
        yield name or "."
