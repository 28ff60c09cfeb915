"""`podwright doctor`: each check is seen to fail, on a machine made of files or a runtime that has just this fault."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from podwright.client import Client
from podwright.cri import v1
from podwright.doctor import kernel, network, runtime, upkeep
from podwright.doctor.examine import examine
from podwright.doctor.finding import Finding
from podwright.doctor.machine import Machine
from podwright.errors import Code, InvalidArgument
from podwright.testing.cri_runtime import StubRuntime
from podwright.testing.cri_server import StubServer

HEALTHY: Mapping[str, str] = {
    "proc/sys/kernel/osrelease": "6.8.0-40-generic",
    "proc/filesystems": "nodev\toverlay\n\text4",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory hugetlb pids",
    "proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\n",
    "proc/sys/user/max_user_namespaces": "63000",
    "proc/sys/kernel/seccomp/actions_avail": "kill_process",
    "proc/pressure/memory": "some avg10=0.00",
    "proc/sys/fs/inotify/max_user_instances": "8192",
    "proc/sys/fs/inotify/max_user_watches": "524288",
    "proc/sys/kernel/pid_max": "4194304",
    "proc/sys/fs/nr_open": "1048576",
    "proc/sys/net/ipv4/ip_forward": "1",
    "proc/sys/net/bridge/bridge-nf-call-iptables": "1",
    "proc/swaps": "Filename\tType\tSize\n",
    "etc/cni/net.d/10-net.conflist": json.dumps({"name": "net", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}),
    "opt/cni/bin/bridge": "",
    "usr/lib/cni/portmap": "",
}
"""Files of a machine without a fault, with cgroup v2."""
NOW = 1_800_000_000.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, text in HEALTHY.items():
        write(root, name, text)
    for plugin in ("opt/cni/bin/bridge", "usr/lib/cni/portmap"):
        (root / plugin).chmod(0o755)
    return root


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def look(root: Path) -> list[Finding]:
    """All that is found without a runtime."""
    machine = Machine(str(root))
    return [
        *kernel.check(machine),
        *network.check(machine, network.CniPlaces()),
        *upkeep.check(machine, NOW),
    ]


def amiss(findings: list[Finding]) -> list[tuple[str, str]]:
    for finding in findings:
        assert bool(finding.advice) == (finding.state != "ok"), "whoever finds fault says what to do"
    return [(finding.state, finding.subject) for finding in findings if finding.state != "ok"]


def test_nothing_is_wrong_with_a_healthy_machine(root: Path) -> None:
    assert amiss(look(root)) == []


def without(name: str) -> Callable[[Path], None]:
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


def with_text(name: str, text: str) -> Callable[[Path], None]:
    return lambda root: write(root, name, text)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (with_text("proc/sys/kernel/osrelease", "5.4.0"), [("warning", "kernel"), ("warning", "user namespaces")]),
        (with_text("proc/sys/kernel/osrelease", "6.1.0"), [("warning", "user namespaces")]),
        (with_text("proc/filesystems", "ext4"), [("fault", "overlayfs")]),
        (with_text("sys/fs/cgroup/cgroup.controllers", "cpu io cpuset hugetlb"), [("fault", "cgroups")]),
        (without("sys/fs/cgroup"), [("fault", "cgroups")]),
        (with_text("proc/sys/user/max_user_namespaces", "0"), [("warning", "user namespaces")]),
        (without("proc/sys/kernel/seccomp"), [("warning", "seccomp")]),
        (without("proc/pressure"), [("warning", "pressure")]),
        (with_text("proc/sys/fs/inotify/max_user_instances", "128"), [("warning", "limits")]),
        (with_text("proc/sys/fs/inotify/max_user_watches", "8192"), [("warning", "limits")]),
        (with_text("proc/sys/kernel/pid_max", "32768"), [("warning", "limits")]),
        (without("proc/sys/fs/nr_open"), [("warning", "limits")]),
        (with_text("proc/sys/net/ipv4/ip_forward", "0"), [("warning", "forwarding")]),
        (without("proc/sys/net/bridge"), [("warning", "bridges")]),
        (with_text("proc/swaps", "Filename\tType\n/swapfile\tfile"), [("warning", "swap")]),
        (with_text("run/systemd/timesync/clock", ""), [("warning", "clock")]),
        (without("etc/cni"), [("fault", "CNI")]),
        (with_text("etc/cni/net.d/05-broken.conf", "{"), [("fault", "CNI")]),
        (with_text("etc/cni/net.d/05-broken.conf", '{"plugins": [{"kind": "bridge"}]}'), [("fault", "CNI")]),
        (with_text("etc/cni/net.d/05-broken.conf", "[]"), [("fault", "CNI")]),
        (without("usr/lib/cni/portmap"), [("fault", "CNI")]),
        (lambda root: (root / "opt/cni/bin/bridge").chmod(0o644), [("fault", "CNI")]),
    ],
)
def test_each_fault_of_a_machine_is_found(
    root: Path, change: Callable[[Path], None], found: list[tuple[str, str]]
) -> None:
    change(root)
    assert amiss(look(root)) == found


def test_the_plugin_that_is_missing_is_named(root: Path) -> None:
    without("usr/lib/cni/portmap")(root)
    (finding,) = (one for one in look(root) if one.state != "ok")
    assert "plugins portmap are not executable" in finding.text
    assert "bridge" not in finding.text


def test_an_old_cgroup_tree(root: Path) -> None:
    shutil.rmtree(root / "sys/fs/cgroup")
    rows = "\n".join(f"{name}\t1\t1\t1" for name in ("cpu", "memory", "pids", "cpuset"))
    write(root, "proc/cgroups", f"#subsys_name\thierarchy\tnum_cgroups\tenabled\n{rows}\nhugetlb\t0\t1\t0")
    for name in ("cpu", "memory", "pids", "cpuset"):
        (root / "sys/fs/cgroup" / name).mkdir(parents=True)
    assert amiss(look(root)) == [("warning", "cgroups")]
    write(root, "sys/fs/cgroup/unified/cgroup.controllers", "")
    assert any(finding.text == "hybrid; without hugetlb" for finding in look(root))
    (root / "sys/fs/cgroup/memory").rmdir()
    assert amiss(look(root)) == [("fault", "cgroups")]


def test_apparmor_without_its_parser(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, "sys/module/apparmor/parameters/enabled", "Y\n")
    monkeypatch.setenv("PATH", str(root))
    assert amiss(look(root)) == [("warning", "apparmor")]
    write(root, "apparmor_parser", "")
    (root / "apparmor_parser").chmod(0o755)
    assert amiss(look(root)) == []


def test_a_clock_in_the_past(root: Path) -> None:
    assert amiss(list(upkeep.check(Machine(str(root)), 0.0))) == [("fault", "clock")]


def statvfs(space: int, inodes: int) -> os.statvfs_result:
    """A file system of 100 blocks and inodes of which so many are free."""
    return os.statvfs_result((4096, 4096, 100, space, space, 100, inodes, inodes, 0, 255))


@pytest.mark.parametrize(
    ("space", "inodes", "state"), [(50, 50, "ok"), (14, 50, "warning"), (4, 50, "fault"), (50, 4, "fault")]
)
def test_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch, space: int, inodes: int, state: str) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: statvfs(space, inodes))
    (finding,) = upkeep.check_disks(Machine(str(root)), disks("/var", "/var"))
    assert finding.state == state
    assert f"{space} % of space and {inodes} % of inodes" in finding.text


def disks(images: str, containers: str) -> v1.ImageFsInfoResponse:
    def usage(place: str) -> v1.FilesystemUsage:
        return v1.FilesystemUsage(fs_id=v1.FilesystemIdentifier(mountpoint=place))

    return v1.ImageFsInfoResponse(image_filesystems=[usage(images)], container_filesystems=[usage(containers)])


def test_disks_that_are_not_there(root: Path) -> None:
    machine = Machine(str(root))
    assert amiss(list(upkeep.check_disks(machine, v1.ImageFsInfoResponse()))) == [("warning", "disk")]
    assert [one.state for one in upkeep.check_disks(machine, disks("/opt", "/nowhere"))] == ["ok", "fault"]


def test_places_of_cni_as_runtimes_tell_them() -> None:
    told = network.CniPlaces.told
    assert told({"cni": {"confDir": "/c", "binDir": "/b"}}) == network.CniPlaces("/c", ["/b"])
    assert told({"cni": {"confDir": "/c", "binDirs": ["/a", "/b"]}}) == network.CniPlaces("/c", ["/a", "/b"])
    odd: Any
    for odd in ({}, {"cni": {}}, {"cni": None}, {"cni": []}, {"cni": {"binDirs": None, "confDir": "/c"}}):
        assert told(odd) == network.CniPlaces()


def test_configurations_as_runtimes_tell_them() -> None:
    assert runtime.told(v1.StatusResponse(info={"config": '{"a": 1}'})) == {"a": 1}
    for text in ("[]", "{", "", "null"):
        assert runtime.told(v1.StatusResponse(info={"config": text})) == {}
    assert runtime.told(v1.StatusResponse()) == {}


# ---- a runtime


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StubServer]:
    with StubServer(str(tmp_path / "cri.sock")) as running:
        running.runtime.image_mount = "/"
        running.runtime.add_image("busybox:1")
        yield running
        running.runtime.close()


def examined(server: StubServer, root: Path) -> list[Finding]:
    return list(examine(lambda: Client(server.endpoint), Machine(str(root))))


def test_a_runtime_that_is_well(server: StubServer, root: Path) -> None:
    findings = examined(server, root)
    assert amiss(findings) == []
    assert findings[0].text == f"stub 1.2.3 at {server.endpoint}: RuntimeService v1, ImageService v1"


def test_an_old_runtime(tmp_path: Path, root: Path) -> None:
    with StubServer(str(tmp_path / "cri.sock"), runtime_versions=("v1alpha2",), image_versions=("v1alpha2",)) as old:
        old.runtime.image_mount = "/"
        findings = examined(old, root)
    assert amiss(findings) == []
    assert "RuntimeService v1alpha2" in findings[0].text


def test_a_runtime_that_is_not_there(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "startable", lambda: Finding("podwright serve", "ok", "not looked at"))
    findings = list(examine(lambda: Client("/nowhere.sock"), Machine(str(root))))
    assert amiss(findings) == [("fault", "runtime")]
    assert len(findings) > 10, "the machine is looked at all the same"
    with pytest.raises(InvalidArgument):
        list(examine(lambda: Client("nonsense"), Machine(str(root))))


@pytest.mark.parametrize(
    ("rpc", "found"),
    [
        ("Version", "runtime"),
        ("Status", "runtime"),
        ("RuntimeConfig", "cgroup driver"),
        ("ListContainers", "pods"),
        ("ListPodSandbox", "pods"),
    ],
)
def test_calls_that_fail(server: StubServer, root: Path, rpc: str, found: str) -> None:
    server.fail(rpc, Code.INTERNAL, "its disk is gone")
    findings = [finding for finding in examined(server, root) if finding.state == "fault"]
    assert findings[0].subject == found
    assert "its disk is gone" in findings[0].text


def test_no_information_on_disks(server: StubServer, root: Path) -> None:
    """ImageFsInfo is what clients negotiate with, so that it has to fail later."""
    findings = examine(lambda: Client(server.endpoint), Machine(str(root)))
    next(findings)
    server.fail("ImageFsInfo", Code.INTERNAL, "its disk is gone")
    assert [("its disk is gone" in one.text, one.subject) for one in findings if one.state == "fault"] == [
        (True, "runtime")
    ]


def test_a_network_that_is_not_ready(server: StubServer, root: Path) -> None:
    server.runtime.network_ready = False
    assert amiss(examined(server, root)) == [("fault", "conditions")]


def test_conditions_that_are_not_told(server: StubServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StubRuntime, "Status", lambda _self, _request: v1.StatusResponse())
    assert amiss(examined(server, root)) == [("fault", "conditions"), ("fault", "conditions")]


def test_cgroup_drivers(server: StubServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "run/systemd/system").mkdir(parents=True)
    assert amiss(examined(server, root)) == [("warning", "cgroup driver")]
    systemd = v1.RuntimeConfigResponse(linux=v1.LinuxRuntimeConfiguration(cgroup_driver=v1.SYSTEMD))
    monkeypatch.setattr(StubRuntime, "RuntimeConfig", lambda _self, _request: systemd)
    assert amiss(examined(server, root)) == []
    (root / "run/systemd/system").rmdir()
    assert amiss(examined(server, root)) == [("fault", "cgroup driver")]


def pod(server: StubServer) -> str:
    """A pod with a container; returns the container's id."""
    config = v1.PodSandboxConfig(metadata=v1.PodSandboxMetadata(name="web", namespace="test", uid="1"))
    container = v1.ContainerConfig(metadata=v1.ContainerMetadata(name="c"), image=v1.ImageSpec(image="busybox:1"))
    with Client(server.endpoint) as cri:
        sandbox = cri.run_pod_sandbox(config).pod_sandbox_id
        return cri.create_container(sandbox, container, sandbox_config=config).container_id


def test_containers_of_which_nothing_is_known(server: StubServer, root: Path) -> None:
    container = pod(server)
    assert amiss(examined(server, root)) == []
    server.runtime.containers[container].status.state = v1.CONTAINER_UNKNOWN
    (finding,) = (one for one in examined(server, root) if one.state != "ok")
    assert container[:13] in finding.text


def test_a_server_for_streams(server: StubServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod(server)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        answer = v1.PortForwardResponse(url=f"http://127.0.0.1:{port}/portforward/1")
        monkeypatch.setattr(StubRuntime, "PortForward", lambda _self, _request: answer, raising=False)
        assert amiss(examined(server, root)) == []
    assert amiss(examined(server, root)) == [("fault", "streams")]
    server.fail("PortForward", Code.INTERNAL, "no address")
    assert amiss(examined(server, root)) == [("fault", "streams")]


def test_the_command(server: StubServer, tmp_path: Path) -> None:
    """On this machine, which may have faults of its own."""
    command = [sys.executable, "-m", "podwright", "doctor", "-r", server.endpoint]
    done = subprocess.run([*command, "-o", "json"], stdout=subprocess.PIPE, text=True, check=False)
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == any(one["state"] == "fault" for one in findings)
    assert findings[0] == {"subject": "runtime", "state": "ok", "text": findings[0]["text"], "advice": ""}
    server.runtime.network_ready = False
    done = subprocess.run([*command, "--quiet"], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "fault    conditions: NetworkReady is false: no reason is given" in lines
    assert not [line for line in lines if line.startswith("ok")]
    nowhere = [*command[:-1], str(tmp_path / "nowhere.sock")]
    done = subprocess.run(nowhere, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("fault    runtime: no connection to RuntimeService")
