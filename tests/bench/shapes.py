"""Images of three shapes, in the storage of a registry: they are built once and kept for later runs."""

import random
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from podwright.testing.images import Entry, directory, file, image, layer, write_layout
from support.registry import Skopeo, docker_registry

REPOSITORY = "bench"


Layers = Sequence[Sequence[Entry]]


def shapes(*, quick: bool) -> Mapping[str, Callable[[], Layers]]:
    """What makes the entries of their layers, by title. Sizes are about those of the compressed layers."""
    part = 10 if quick else 1
    megabyte = (1 << 20) // part
    return {
        f"20 layers of {20 // part} MB": lambda: [[file(f"layer-{n}", _content(n, 36 * megabyte))] for n in range(20)],
        f"1 layer of {500 // part} MB": lambda: [[file(f"part-{n}", _content(n, 90 * megabyte)) for n in range(10)]],
        f"{30_000 // part:,} small files": lambda: [_small_files(30_000 // part)],
    }


def _small_files(count: int) -> list[Entry]:
    directories = [directory(f"d{number:03}") for number in range(300)]
    return directories + [file(f"d{number % 300:03}/f{number:05}", _content(number, 8192)) for number in range(count)]


def _content(seed: int, size: int) -> bytes:
    """Bytes that gzip halves: noise and text by turns."""
    noise = random.Random(seed).randbytes(size // 2)
    text = b"".join(b"line %d of a file with words in it\n" % number for number in range(size // 70))
    return b"".join(noise[start : start + 512] + text[start : start + 512] for start in range(0, size // 2, 512))


def storage(place: Path, *, quick: bool) -> Path:
    """The directory of a registry that has the images as REPOSITORY:0, :1 and so on, below `place`; made if need be."""
    wanted = place / ("registry-quick" if quick else "registry")
    if not wanted.exists():
        unfinished = place / "registry-unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        with docker_registry(unfinished) as host:
            for number, layers in enumerate(shapes(quick=quick).values()):
                with tempfile.TemporaryDirectory(dir=place) as layout:
                    write_layout(f"{layout}/oci", {"1": image(*(layer(*entries) for entries in layers()))})
                    Skopeo(host).copy(f"oci:{layout}/oci:1", f"{REPOSITORY}:{number}")
        unfinished.rename(wanted)
    return wanted
