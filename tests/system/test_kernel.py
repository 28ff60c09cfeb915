"""kernel/: what the system calls really do, in a mount namespace of the test's own."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podwright.kernel import cgroups, libc, mounts, namespaces, process
from podwright.kernel.namespaces import IdMapping, Wanted

pytestmark = pytest.mark.root


def privately(work: Callable[[], None]) -> None:
    """Runs `work` in a thread with a mount namespace of its own, from which nothing gets out."""

    def body() -> None:
        libc.unshare(libc.CLONE_FS | libc.CLONE_NEWNS)
        libc.mount(None, "/", None, libc.MS_PRIVATE | libc.MS_REC)
        work()

    mounts.in_thread_of_its_own(body)


def in_thread_list() -> list[mounts.Mount]:
    return mounts.list_mounts("thread-self")


def test_mount_points_with_odd_names_are_read_as_they_are(tmp_path: Path) -> None:
    odd = tmp_path / "a b\tc\\d\ne"
    odd.mkdir()

    def work() -> None:
        mounts.tmpfs(str(odd), size=4096, mode=0o700)
        assert str(odd) in [m.mount_point for m in in_thread_list()]

    privately(work)


@pytest.mark.parametrize("first", [0, 10_000_000], ids=["within a page", "longer than a page"])
def test_overlay_takes_as_many_layers_as_an_image_may_have(tmp_path: Path, first: int) -> None:
    count = 500
    numbers = range(first, first + count)
    for number in numbers:
        (tmp_path / f"layers/{number}/fs").mkdir(parents=True)
        (tmp_path / f"layers/{number}/fs/{number}").touch()
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()

    def work() -> None:
        mounts.overlay(
            str(tmp_path / "merged"),
            base=str(tmp_path / "layers"),
            lowerdirs=[f"{number}/fs" for number in numbers],
            upperdir=str(tmp_path / "upper"),
            workdir=str(tmp_path / "work"),
        )
        assert len(os.listdir(tmp_path / "merged")) == count
        (tmp_path / "merged/new").touch()

    # mounts.overlay changes directory in a thread of its own, which shares our namespace only if we own it
    here = os.getcwd()
    privately(work)
    assert os.getcwd() == here
    assert (tmp_path / "upper/new").exists()


def test_overlay_without_an_upper_directory_cannot_be_written(tmp_path: Path) -> None:
    for name in ("layers/1", "layers/0", "merged"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "layers/1/file").touch()

    def work() -> None:
        mounts.overlay(str(tmp_path / "merged"), base=str(tmp_path / "layers"), lowerdirs=["1", "0"])
        assert os.listdir(tmp_path / "merged") == ["file"]
        with pytest.raises(OSError, match="Read-only"):
            (tmp_path / "merged/file").write_text("x")

    privately(work)


def test_options_longer_than_a_page_are_refused_and_not_cut(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="longer than a page"):
        libc.mount("overlay", str(tmp_path), "overlay", 0, "x" * 4096)


def test_umount_removes_all_that_is_stacked_and_then_nothing(tmp_path: Path) -> None:
    def work() -> None:
        mounts.tmpfs(str(tmp_path), size=4096, mode=0o755)
        mounts.tmpfs(str(tmp_path), size=4096, mode=0o755)
        mounts.umount(str(tmp_path))
        assert str(tmp_path) not in [m.mount_point for m in in_thread_list()]
        mounts.umount(str(tmp_path))
        mounts.umount(str(tmp_path / "nowhere"))

    privately(work)


@pytest.fixture
def pins(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for name in os.listdir(tmp_path):
        namespaces.unpin(str(tmp_path / name))


def look_into(pins: Path, look: Callable[[], str]) -> str:
    def work() -> str:
        for kind in ("net", "uts"):
            namespaces.join(str(pins / kind), kind)
        return look()

    return mounts.in_thread_of_its_own(work)


@pytest.mark.parametrize("mappings", [(), (IdMapping(0, 200000, 65536),)], ids=["host users", "user namespace"])
def test_namespaces_are_made_configured_and_pinned(pins: Path, mappings: tuple[IdMapping, ...]) -> None:
    kinds = ("net", "ipc", "uts", *(("user",) if mappings else ()))
    namespaces.create(
        Wanted(
            pins={kind: str(pins / kind) for kind in kinds},
            hostname="inside",
            sysctls={"net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/forwarding": "0"},
            uids=mappings,
            gids=mappings,
        )
    )
    assert look_into(pins, socket.gethostname) == "inside"
    assert socket.gethostname() != "inside"
    assert look_into(pins, lambda: Path("/proc/sys/net/ipv4/ip_forward").read_text()) == "1\n"
    assert look_into(pins, lambda: Path("/proc/sys/net/ipv4/conf/lo/forwarding").read_text()) == "0\n"

    def loopback() -> str:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
            return str(client.getpeername()[0])

    assert look_into(pins, loopback) == "127.0.0.1"
    if mappings:
        command = ["nsenter", f"--user={pins}/user", "cat", "/proc/self/uid_map"]
        assert subprocess.check_output(command).split() == [b"0", b"200000", b"65536"]
    for kind in kinds:
        namespaces.unpin(str(pins / kind))
        namespaces.unpin(str(pins / kind))
    assert os.listdir(pins) == []


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    child = subprocess.Popen(["sleep", "100"])
    pid = process.Pid.of(child.pid)
    fd = pid.open()
    assert fd is not None
    assert pid.alive()
    impostor = process.Pid(child.pid, pid.started + 1)
    assert not impostor.alive()
    assert impostor.open() is None
    impostor.kill()
    assert child.poll() is None
    pid.kill(signal.SIGTERM)
    assert child.wait() == -signal.SIGTERM
    assert not pid.alive()
    os.close(fd)
    with pytest.raises(ProcessLookupError):
        process.Pid.of(child.pid)


def test_a_process_whose_number_lives_on_as_that_of_its_session_has_ended() -> None:
    """Linux 6.1 says EINVAL where later ones say ESRCH."""
    leader = subprocess.Popen(["sh", "-c", "sleep 100 & read line"], start_new_session=True, stdin=subprocess.PIPE)
    pid = process.Pid.of(leader.pid)
    leader.communicate(b"\n")
    try:
        assert pid.open() is None
        assert pid.wait(1)
        pid.kill()
    finally:
        os.killpg(leader.pid, signal.SIGKILL)


def test_descendants_are_found_across_sessions() -> None:
    script = "setsid sleep 100 & sh -c 'sleep 100 & echo; wait' & wait"
    leader = subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    leader.stdout.readline()
    found = process.descendants({leader.pid})
    try:
        assert len(found) >= 4
    finally:
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        leader.wait()
        leader.stdout.close()


@pytest.fixture
def cgroup() -> Iterator[str]:
    path = f"/podwright-test-kernel-{os.getpid()}"
    yield path
    hierarchies = cgroups.detect()
    hierarchies.kill(path)
    hierarchies.wait_empty(path, 10)
    hierarchies.remove(path)
    assert not hierarchies.exists(path)


def populate(hierarchies: cgroups.Cgroups, path: str, script: str) -> subprocess.Popen[bytes]:
    """A process in the cgroup that has everything it starts in there too."""
    roots = {hierarchies.unified, hierarchies.controllers.get("memory"), hierarchies.controllers.get("freezer")} - {
        None
    }
    for root in roots:
        Path(f"{root}{path}").mkdir(parents=True, exist_ok=True)
    join = "; ".join(f"echo $$ > {root}{path}/cgroup.procs" for root in roots)
    child = subprocess.Popen(["sh", "-c", f"{join}; echo; {script}"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.mark.parametrize("unified", [True, False], ids=["cgroup.kill", "one by one"])
def test_nobody_in_a_cgroup_escapes_a_kill(cgroup: str, *, unified: bool) -> None:
    hierarchies = cgroups.detect()
    if not unified:
        if not hierarchies.controllers:
            pytest.skip("only v2 here")
        hierarchies = cgroups.Cgroups("v1", None, hierarchies.controllers)
    child = populate(hierarchies, f"{cgroup}/inner", "while :; do (exec setsid sleep 100) & sleep 0.001; done")
    assert not hierarchies.wait_empty(cgroup, 0.05)
    reaper = threading.Thread(target=child.wait)
    reaper.start()
    hierarchies.kill(cgroup)
    assert hierarchies.wait_empty(cgroup, 10)
    reaper.join()
    assert child.returncode == -signal.SIGKILL
    assert hierarchies.processes(cgroup) == set()
    assert child.stdout is not None
    child.stdout.close()


def test_freezing_stops_what_is_inside(cgroup: str) -> None:
    hierarchies = cgroups.detect()
    child = populate(hierarchies, cgroup, "while :; do echo; done")
    assert hierarchies.of_process(child.pid) == cgroup
    hierarchies.freeze(cgroup, frozen=True, seconds=10)
    assert hierarchies.is_frozen(cgroup)
    hierarchies.freeze(cgroup, frozen=False, seconds=10)
    hierarchies.kill(cgroup)
    assert child.wait() == -signal.SIGKILL
    assert child.stdout is not None
    child.stdout.close()


def test_those_who_cannot_die_do_not_hold_the_killer_up(cgroup: str) -> None:
    """As a process in uninterruptible sleep: one that a v1 hierarchy has frozen."""
    hierarchies = cgroups.detect()
    if not hierarchies.controllers:
        pytest.skip("what v2 freezes can be killed")
    hierarchies = cgroups.Cgroups("v1", None, hierarchies.controllers)
    child = populate(hierarchies, cgroup, "while :; do sleep 0.01; done")
    hierarchies.freeze(cgroup, frozen=True)
    killer = threading.Thread(target=hierarchies.kill, args=(cgroup,), kwargs={"seconds": 0.2})
    killer.start()
    killer.join(timeout=5)
    held_up = killer.is_alive()
    hierarchies.freeze(cgroup, frozen=False)
    assert child.wait() == -signal.SIGKILL, "it has the signal all the same"
    killer.join()
    assert not held_up
    assert child.stdout is not None
    child.stdout.close()


def test_what_does_not_exist_is_killed_awaited_and_removed_with_success() -> None:
    hierarchies = cgroups.detect()
    hierarchies.kill("/podwright-nowhere")
    assert hierarchies.wait_empty("/podwright-nowhere", 1)
    hierarchies.remove("/podwright-nowhere")
    assert hierarchies.oom_kills("/podwright-nowhere") == 0
    with contextlib.suppress(ProcessLookupError):
        hierarchies.of_process(2**22 - 1)
