"""`podwright doctor` on a node of Podwright: what only its daemon can say, each seen to fail once."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from podwright.kernel import cgroups
from support.cri import Pods
from support.node import Node, node

pytestmark = pytest.mark.root

AWAY = "0123456789abcdef" * 4
"""An id that nothing has."""


def doctor(machine: Node) -> dict[str, list[tuple[str, str]]]:
    """State and text of what is found, by subject."""
    command = [sys.executable, "-m", "podwright", "doctor", "-r", f"unix://{machine.socket}", "-o", "json"]
    done = subprocess.run(machine.enter(command), stdout=subprocess.PIPE, check=False, timeout=60)
    found: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["subject"], []).append((one["state"], one["text"]))
    assert done.returncode == any(state == "fault" for lines in found.values() for state, _ in lines)
    return found


def states(found: dict[str, list[tuple[str, str]]], subject: str) -> set[str]:
    return {state for state, _ in found[subject]}


def test_a_node_without_fault(pods: Pods) -> None:
    found = doctor(pods.node)
    for subject in ("runtime", "conditions", "streams", "configuration", "programs", "registries", "left over", "CNI"):
        assert states(found, subject) == {"ok"}, found[subject]
    assert states(found, "overlayfs") == {"ok"}
    programs = " ".join(text for _, text in found["programs"])
    for name in ("conmon version", 'handler "crun": crun version', 'handler "runc": runc version', "catatonit"):
        assert name in programs
    (cni,) = found["CNI"]
    assert str(pods.node.cni) in cni[1]
    assert "127.0.0.1:" in found["streams"][0][1]


def test_what_is_left_over(pods: Pods) -> None:
    """Of each kind one thing; a pod's own are none."""
    machine = pods.node
    sandbox = pods.run_sandbox(pods.networked_config())
    pods.start(sandbox)
    directory = machine.state / "containers" / AWAY
    cgroup = f"{machine.cgroup}/{AWAY}"
    pin = f"/run/netns/podwright-{AWAY}"
    hierarchies = cgroups.detect()
    top = hierarchies.directories(machine.cgroup)[0]
    directory.mkdir()
    Path(f"{top}/{AWAY}").mkdir()
    machine.run("touch", pin)
    try:
        ((state, text),) = doctor(machine)["left over"]
    finally:
        directory.rmdir()
        hierarchies.remove(cgroup)
        machine.run("rm", pin)
    assert state == "warning"
    assert set(text.partition(": ")[2].split(", ")) == {str(directory), f"{top}/{AWAY}", pin}
    assert sandbox not in text


def test_a_mount_that_is_left_over(pods: Pods) -> None:
    target = pods.node.state / "sandboxes" / AWAY / "shm"
    target.mkdir(parents=True)
    inside = ["nsenter", "-t", str(pods.node.daemon), "-m", "--"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "shm", str(target)], check=True)
    try:
        ((state, text),) = doctor(pods.node)["left over"]
    finally:
        subprocess.run([*inside, "umount", str(target)], check=True)
        target.rmdir()
        target.parent.rmdir()
    assert state == "warning"
    assert str(target) in text


def test_no_overlayfs_where_containers_are(pods: Pods) -> None:
    """An overlay has no upper directory on another one."""
    containers = pods.node.root / "containers"
    scratch = pods.node.directory / "scratch"
    for name in ("lower", "upper", "work"):
        (scratch / name).mkdir(parents=True)
    options = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
    inside = ["nsenter", "-t", str(pods.node.daemon), "-m", "--"]
    subprocess.run([*inside, "mount", "-t", "overlay", "-o", options, "overlay", str(containers)], check=True)
    try:
        found = doctor(pods.node)
    finally:
        # umount(8) of Debian 12 loses its way here
        subprocess.run([*inside, "busybox", "umount", str(containers)], check=True)
    assert ("fault" in states(found, "overlayfs")) and str(containers) in found["overlayfs"][0][1]
    assert not os.listdir(scratch / "upper"), "nothing is left of the attempt"
    shutil.rmtree(scratch)
    assert states(doctor(pods.node), "overlayfs") == {"ok"}


def test_faults_of_a_whole_node(tmp_path: Path) -> None:
    """A node of its own, whose programs and files go away one by one."""
    registries, programs = tmp_path / "certs.d", tmp_path / "bin"
    programs.mkdir()
    for name in ("conmon", "crun", "catatonit"):
        os.link(os.path.realpath(subprocess.check_output(["which", name], text=True).strip()), programs / name)
    (registries / "mirror.example_5000_").mkdir(parents=True)
    (registries / "mirror.example_5000_" / "hosts.toml").write_text('server = "https://mirror.example:5000"\n')
    with node() as machine:
        machine.write_config(
            f"""
[images]
registry_dirs = ["{registries}"]
[runtime]
conmon = "{programs}/conmon"
infra_program = "{programs}/catatonit"
[runtime.handlers.plain]
program = "{programs}/crun"
"""
        )
        machine.start()
        found = doctor(machine)
        assert states(found, "programs") == states(found, "registries") == states(found, "configuration") == {"ok"}
        assert "mirror.example:5000" in found["registries"][0][1]
        assert states(found, "streams") == {"ok"}

        (registries / "mirror.example_5000_" / "hosts.toml").write_text("server = 5\n")
        (programs / "catatonit").unlink()
        (programs / "conmon").unlink()
        with machine.config.open("a") as config:
            config.write("[nonsense]\n")
        (machine.cni / "10-test.conflist").unlink()
        found = doctor(machine)
        broken = [text for state, text in found["programs"] if state == "fault"]
        assert [text.split()[0] for text in broken] == ["cannot", "cannot"], broken
        for subject in ("registries", "configuration", "CNI", "conditions"):
            assert "fault" in states(found, subject), found[subject]
        assert "nonsense" in found["configuration"][0][1]
        reasons = " ".join(text for _, text in found["conditions"])
        assert "ProgramMissing" in reasons
        assert "NetworkPluginNotReady" in reasons

        machine.kill()
        found = doctor(machine)
        assert states(found, "runtime") == {"fault"}
        assert states(found, "podwright serve") == {"ok"}, "that of the usual configuration"
        assert "kernel" in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ""),
        ('[runtime]\nconmon = "/no/conmon"', "/no/conmon is not installed"),
        ('[runtime.handlers.kata]\nprogram = "/no/kata"', "/no/kata is not installed"),
        ('[runtime]\ndefault_handler = "kata"', 'there is no handler "kata"'),
        ("[runtime]\nconman = 1", "unknown field `conman`"),
    ],
)
def test_what_keeps_the_daemon_from_serving(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    command = [sys.executable, "-m", "podwright", "serve", "--check", "--config", str(tmp_path / "config.toml")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == bool(problem)
    assert problem in done.stderr
    assert bool(done.stderr) == bool(problem)
