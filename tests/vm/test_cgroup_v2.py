"""Pods on cgroup v2, with systemd and without, in an emulated machine (make-vm, vmtest): `make vm` runs it.

Not part of `make test`: building the machine takes minutes, and emulation makes everything twenty times slower.
"""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
IMAGE = Path(os.environ.get("PODWRIGHT_VM", PROJECT / "build/vm/bookworm"))
LIBRARIES = ("grpc", "google", "msgspec", "urllib3", "isal", "zstandard", "yaml", "typing_extensions")

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What goes into the machine."""
    if not (IMAGE / "root.img").exists():
        pytest.skip(f"there is no machine in {IMAGE}: `make vm` builds it")
    directory = tmp_path_factory.mktemp("work")
    shutil.copytree(PROJECT / "src", directory / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "pod_life.py", directory)
    (directory / "support").mkdir()
    shutil.copy(PROJECT / "tests/support/archives.py", directory / "support")
    for name in LIBRARIES:
        spec = importlib.util.find_spec(name)
        assert spec is not None, name
        if spec.submodule_search_locations:
            ignored = shutil.ignore_patterns("__pycache__", "tests")
            shutil.copytree(spec.submodule_search_locations[0], directory / "libraries" / name, ignore=ignored)
        elif spec.origin is not None:
            shutil.copy(spec.origin, directory / "libraries")
    return directory


@pytest.mark.parametrize("handler", ["crun", "runc"])
@pytest.mark.parametrize("driver", ["systemd", "cgroupfs"])
def test_life_of_a_pod(work: Path, driver: str, handler: str) -> None:
    machine = [str(HERE / "vmtest"), "-i", str(IMAGE), "-d", str(work), "-t", "600", "--"]
    command = [*machine, "python3", "pod_life.py", driver, handler]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:]
    assert f"{driver} with {handler}: as it should be" in done.stdout
