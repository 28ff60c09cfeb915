"""NRI plugins when the daemon comes and goes: those that connect again, and those that it starts itself."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.errors import PodwrightError
from podwright.kernel import cgroups
from podwright.nri import v1
from recovery.conftest import Survivor
from support import nri
from support.cri import Pods, until

pytestmark = pytest.mark.root

TESTS = Path(__file__).parent.parent


def socket(survivor: Survivor) -> str:
    return f"/proc/{survivor.node.holder}/root/run/nri/nri.sock"


def test_plugins_register_again(survivor: Survivor) -> None:
    pods = survivor.start()
    sandbox = pods.run_sandbox()
    with nri.plugin(socket(survivor)) as plugin:
        stays, goes, over = (pods.start(sandbox) for _ in range(3))
        pods.cri.stop_container(over, timeout=0)
        stopped = pods.run_sandbox()
        pods.cri.stop_pod_sandbox(stopped)
        process = str(pods.info(goes)["pid"])
        survivor.node.kill()
        assert plugin.left.wait(10)
    survivor.node.run("kill", "-9", process)
    pods = survivor.start()
    pods.exited(goes)
    with nri.plugin(socket(survivor)) as plugin:
        (synchronized,) = plugin.requests("Synchronize")
        assert {pod.id for pod in synchronized.pods} == {survivor.bystander.sandbox.id, sandbox, stopped}
        living = {container.id for container in synchronized.containers}
        assert living == {survivor.bystander.container.id, stays}
        for sandbox_id in (sandbox, stopped):
            pods.cri.stop_pod_sandbox(sandbox_id)
            pods.cri.remove_pod_sandbox(sandbox_id)
        assert plugin.names(stays) == ["StopContainer", "RemoveContainer"]
        assert plugin.names(goes) == plugin.names(over) == ["RemoveContainer"], "their ends were before its time"
        assert plugin.names(sandbox) == ["StopPodSandbox", "RemovePodSandbox"]
        assert plugin.names(stopped) == ["RemovePodSandbox"]
    survivor.bystander.is_as_before(pods)
    assert survivor.leaks() == {}


@pytest.mark.parametrize("failpoint", ["kill@nri.CreateContainer", "kill@after:container.create"])
def test_a_container_in_a_cgroup_of_a_plugins_choice_is_undone(survivor: Survivor, failpoint: str) -> None:
    moved = f"{survivor.node.cgroup}/of-a-plugin"
    linux = v1.LinuxContainerAdjustment(cgroups_path=moved)
    adjusted = v1.CreateContainerResponse(adjust=v1.ContainerAdjustment(linux=linux))
    pods = survivor.start(failpoint)
    sandbox = pods.run_sandbox()
    with nri.plugin(socket(survivor), CreateContainer=lambda _request: adjusted):
        with pytest.raises(PodwrightError):
            pods.create(sandbox)
        survivor.died()
    assert cgroups.detect().exists(moved) == (failpoint != "kill@nri.CreateContainer")
    pods = survivor.start()
    pods.cri.remove_pod_sandbox(sandbox)
    until(survivor.leaks, lambda left: not left)


@pytest.fixture
def installed(survivor: Survivor) -> Iterator[Survivor]:
    """A plugin is installed, and programs that are none."""
    directory = survivor.node.directory / "plugins"
    directory.mkdir()
    program = f"#!/bin/sh\nPYTHONPATH={TESTS} exec {sys.executable} -m support.nri_program\n"
    for name, mode in (("07-tester", 0o755), ("08-data", 0o644), ("noindex", 0o755)):
        (directory / name).write_text(program)
        (directory / name).chmod(mode)
    (directory / "09-broken").write_text("#!/bin/sh\nexit 1\n")
    (directory / "09-broken").chmod(0o755)
    (directory / "tester.conf").write_text("its configuration")
    survivor.node.write_config(f'[nri]\nplugin_dir = "{directory}"\nconfig_dir = "{directory}"\n')
    yield survivor
    survivor.node.write_config()


def has_its_variable(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    assert pods.run(sandbox, "echo $INSTALLED")[1] == "07-tester: its configuration\n"
    pods.cri.remove_pod_sandbox(sandbox)


def test_installed_plugins_come_and_go_with_the_daemon(installed: Survivor) -> None:
    has_its_variable(installed.start())
    installed.node.kill()
    until(installed.node.processes, lambda found: not any("nri_program" in line for line in found))
    has_its_variable(installed.start())
    installed.node.stop()
    until(installed.node.processes, lambda found: not any("nri_program" in line for line in found))
