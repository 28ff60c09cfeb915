"""Reading the kernel's figures: forms of files that this host does not have, and what happens when they go away."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from podwright.kernel.cgroups import Cgroups
from podwright.stats import meters
from podwright.stats.cgroup_figures import CgroupReader, pressure
from podwright.stats.meters import Meters
from podwright.stats.network import Interface, parse
from podwright.stats.trees import Trees

V2_FILES = {
    "cpu.stat": "usage_usec 5000\nuser_usec 3000\nsystem_usec 2000\n",
    "memory.stat": "anon 4096\nfile 8192\ninactive_file 2048\nactive_file 1024\npgfault 7\npgmajfault 1\n",
    "memory.current": "16384\n",
    "memory.max": "max\n",
    "memory.swap.current": "100\n",
    "memory.swap.max": "300\n",
    "cpu.pressure": "some avg10=1.50 avg60=0.50 avg300=0.10 total=1234\n",
    "io.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=2.00 avg60=0.00 avg300=0.00 total=4\n",
}


@pytest.fixture
def v2(tmp_path: Path) -> Cgroups:
    """A v2 hierarchy with one cgroup, /pod."""
    (tmp_path / "pod").mkdir()
    for name, text in V2_FILES.items():
        (tmp_path / "pod" / name).write_text(text)
    return Cgroups("v2", str(tmp_path), {})


def test_cgroup_v2(v2: Cgroups, tmp_path: Path) -> None:
    reader = CgroupReader(v2, "/pod")
    figures = reader.read()
    assert figures is not None
    assert figures[:9] == (5_000_000, 16384, 14336, 4096, 7, 1, None, 100, 300)
    assert figures.cpu_pressure is not None
    assert (figures.cpu_pressure.Some.Avg10, figures.cpu_pressure.Some.Total) == (1.5, 1234)
    assert figures.io_pressure is not None
    assert (figures.io_pressure.Full.Avg10, figures.io_pressure.Full.Total) == (2.0, 4)
    assert figures.memory_pressure is None  # no such file
    (tmp_path / "pod/memory.max").write_text("20480\n")
    again = reader.read()
    assert again is not None
    assert again.memory_limit == 20480
    reader.close()
    assert CgroupReader(v2, "/other").read() is None


def test_v1_without_swap_accounting_and_without_v2_beside_it(tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    texts = {
        "memory.stat": "total_inactive_file 96\ntotal_rss 50\ntotal_pgfault 3\ntotal_pgmajfault 0\n",
        "memory.usage_in_bytes": "200\n",
        "memory.limit_in_bytes": "9223372036854771712\n",
        "cpuacct.usage": "77\n",
    }
    for name, text in texts.items():
        (tmp_path / "pod" / name).write_text(text)
    figures = CgroupReader(Cgroups("v1", None, dict.fromkeys(("memory", "cpuacct"), str(tmp_path))), "/pod").read()
    assert figures is not None
    assert figures[:9] == (77, 200, 104, 50, 3, 0, None, None, None)
    assert figures[9:] == (None, None, None)


def test_a_text_that_is_no_pressure() -> None:
    assert pressure(b"") is None


def test_more_cgroups_than_files_may_be_open(v2: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what may be kept open, files are opened for each reading: nobody runs out of descriptors."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    before = len(os.listdir("/proc/self/fd"))
    many = Meters(v2)
    for number in range(50):
        assert many.sample(str(number), "/pod") is not None
    assert len(os.listdir("/proc/self/fd")) - before <= 32
    for number in range(50):
        many.forget(str(number))
    assert len(os.listdir("/proc/self/fd")) == before


def test_meters_that_nobody_asks_for_are_given_up(v2: Cgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "IDLE_SECONDS", -1.0)
    before = len(os.listdir("/proc/self/fd"))
    idle = Meters(v2)
    idle.sample("one", "/pod")
    assert len(os.listdir("/proc/self/fd")) > before
    idle.forget_idle()
    assert len(os.listdir("/proc/self/fd")) == before


def test_interfaces() -> None:
    text = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compre
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0      0
  eth0: 1500000    1200    3    4    0     0          0         0 250000000   90000    5    6    0     0       0      0
eth0:1:       1       2    3    4    0     0          0         0         5       6    7    8    0     0       0      0
"""
    assert parse(text) == [
        Interface("eth0", 1500000, 1200, 3, 4, 250000000, 90000, 5, 6),
        Interface("eth0:1", 1, 2, 3, 4, 5, 6, 7, 8),
    ]


def test_a_tree_that_is_very_deep_and_a_link_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "upper"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("x")
    (root / "link").symlink_to("../outside")
    fd = os.open(root, os.O_RDONLY)
    name = "d" * 100
    for _ in range(60):  # more than a path can name
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    trees = Trees()
    try:
        (usage,) = trees.usages({"c": [str(root), str(tmp_path / "no such")]}, wait=10).values()
        assert 40 < usage.inodes < 60  # and neither the link's target nor an error
    finally:
        trees.close()
        subprocess.run(["rm", "-r", root], check=True)  # Python's own way of removing gives up
