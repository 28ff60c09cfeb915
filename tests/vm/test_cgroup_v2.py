"""Pods on cgroup v2, with systemd and without, in an emulated machine (make-vm, vmtest): `make vm` runs it.

Not part of `make test`: building the machine takes minutes, and emulation makes everything twenty times slower.
"""

import shutil
from pathlib import Path

import pytest

from support import machine

HERE = Path(__file__).parent

pytestmark = [pytest.mark.vm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What goes into the machine."""
    directory = tmp_path_factory.mktemp("work")
    machine.prepare(directory)
    for script in ("pod_life.py", "node_life.py"):
        shutil.copy(HERE / script, directory)
    (directory / "support").mkdir()
    shutil.copy(machine.PROJECT / "tests/support/archives.py", directory / "support")
    return directory


@pytest.mark.parametrize("handler", ["crun", "runc"])
@pytest.mark.parametrize("driver", ["systemd", "cgroupfs"])
def test_life_of_a_pod(work: Path, driver: str, handler: str) -> None:
    output = machine.run(work, "python3", "pod_life.py", driver, handler)
    assert f"{driver} with {handler}: as it should be" in output


@pytest.mark.parametrize("driver", ["systemd", "cgroupfs"])
def test_a_node_with_a_pod(work: Path, driver: str) -> None:
    output = machine.run(work, "python3", "node_life.py", driver)
    assert f"node with {driver}: as it should be" in output
