"""Tests of tests/cri that need what this machine may lack, run in the emulated one: criu, AppArmor, cgroup v2."""

import shutil
from pathlib import Path

import pytest

from support import machine

PYTEST = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments", "pytest_timeout")
SETTINGS = """
[pytest]
pythonpath = tests src libraries
markers =
    root: needs root
    slow: slow
"""

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What goes into the machine."""
    directory = tmp_path_factory.mktemp("work")
    machine.prepare(directory, PYTEST)
    for part in ("support", "cri"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(machine.PROJECT / "tests" / part, directory / "tests" / part, ignore=ignored)
    (directory / "pytest.ini").write_text(SETTINGS)
    return directory


@pytest.mark.parametrize("module", ["test_checkpoint", "test_stats", "test_metrics"])
def test_there(work: Path, module: str) -> None:
    """All tests of the module pass; none is skipped for want of something."""
    output = run(work, f"tests/cri/{module}.py")
    assert "skipped" not in output


def test_apparmor(work: Path) -> None:
    """Containers are confined."""
    if "no AppArmor here" in run(work, "tests/cri/test_security.py -k apparmor"):
        pytest.skip("the machine was built without apparmor: remove it, and `make vm`")


def run(work: Path, tests: str) -> str:
    """The output of pytest with these tests, which pass."""
    pytest_there = "PYTHONPATH=$PWD/src:$PWD/libraries exec python3 -m pytest -q -rs -p pytest_timeout"
    output = machine.run(work, f"{pytest_there} -p no:cacheprovider {tests}", seconds=2300)
    assert " passed" in output
    return output
