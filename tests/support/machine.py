"""The emulated machine (tests/vm): what goes into it, and running a command there."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent.parent
IMAGE = Path(os.environ.get("PODWRIGHT_VM", PROJECT / "build/vm/bookworm"))
LIBRARIES = (
    *("grpc", "google", "msgspec", "urllib3", "isal", "zstandard", "yaml", "typing_extensions"),
    *("h11", "websockets", "prometheus_client"),
)
"""What Podwright needs to run; the machine's Python is of the same version as ours."""


def prepare(directory: Path, more_libraries: Iterable[str] = ()) -> None:
    """Puts Podwright and the libraries into a directory. Skips the test where there is no machine."""
    if not (IMAGE / "root.img").exists():
        pytest.skip(f"there is no machine in {IMAGE}: `make vm` builds it")
    shutil.copytree(PROJECT / "src", directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*LIBRARIES, *more_libraries):
        spec = importlib.util.find_spec(name)
        assert spec is not None, name
        if spec.submodule_search_locations:
            ignored = shutil.ignore_patterns("__pycache__", "tests")
            shutil.copytree(spec.submodule_search_locations[0], directory / "libraries" / name, ignore=ignored)
        elif spec.origin is not None:
            shutil.copy(spec.origin, directory / "libraries")


def run(directory: Path, *command: str, seconds: int = 600) -> str:
    """Runs a command in the machine, in a copy of the directory; returns its output. It must succeed."""
    machine = [str(PROJECT / "tests/vm/vmtest"), "-i", str(IMAGE), "-d", str(directory), "-t", str(seconds), "--"]
    done = subprocess.run(
        [*machine, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout
