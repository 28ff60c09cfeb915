"""Runs in the virtual machine: the life of a pod on cgroup v2, for one driver and one handler.

    python3 pod_life.py systemd|cgroupfs crun|runc

Ends with status 0 if all was as it should be. Beside it lie `libraries` (what Podwright needs) and `src`.
"""

import glob
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "src"), str(HERE / "libraries")]  # before Debian's older ones

import grpc  # noqa: E402

from podwright.client import Client  # noqa: E402
from podwright.control import v1 as control  # noqa: E402
from podwright.cri import v1  # noqa: E402
from support.archives import write_busybox_archive  # noqa: E402

SOCKET = "/run/pw.sock"
CGROUPS = Path("/sys/fs/cgroup")
MEGABYTE = 1 << 20
PARENTS = {"systemd": "test-pods.slice", "cgroupfs": "/test-pods"}


@contextmanager
def daemon(driver: str, handler: str) -> Iterator[subprocess.Popen[bytes]]:
    """`podwright serve`, with its log on our standard error."""
    os.makedirs("/etc/cni/net.d", exist_ok=True)
    bridge = {"type": "bridge", "bridge": "pw0", "isGateway": True, "ipam": {"type": "host-local"}}
    bridge["ipam"] = {"type": "host-local", "ranges": [[{"subnet": "10.89.0.0/16"}]]}
    Path("/etc/cni/net.d/10-test.conflist").write_text(
        json.dumps({"cniVersion": "1.0.0", "name": "test", "plugins": [bridge]})
    )
    Path("/run/pw.toml").write_text(
        f'[endpoints]\nruntime = "unix://{SOCKET}"\n[cgroup]\ndriver = "{driver}"\n'
        f'[runtime]\ndefault_handler = "{handler}"\n[log]\nlevel = "debug"\n'
    )
    reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONPATH": f"{HERE}/src:{HERE}/libraries"}
    command = [sys.executable, "-m", "podwright", "serve", "--config", "/run/pw.toml", "--ready-fd", str(writing)]
    process = subprocess.Popen(command, pass_fds=[writing], env=environment)
    os.close(writing)
    with os.fdopen(reading, "rb") as ready:
        assert ready.read(1), "the daemon did not start"
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def load_busybox() -> None:
    """Puts the test image into the store."""
    write_busybox_archive(Path("/run/busybox.tar"), ["localhost/busybox:1"])
    with grpc.insecure_channel(f"unix:{SOCKET}") as channel:
        call = channel.unary_unary(
            "/podwright.v1.Control/LoadImage",
            request_serializer=control.LoadImageRequest.SerializeToString,
            response_deserializer=control.LoadImageResponse.FromString,
        )
        call(control.LoadImageRequest(path="/run/busybox.tar"))


class Pod:
    """A sandbox below the test's cgroup parent."""

    def __init__(self, cri: Client, driver: str, pid: v1.NamespaceMode) -> None:
        self.cri = cri
        security = v1.LinuxSandboxSecurityContext(namespace_options=v1.NamespaceOption(pid=pid))
        self.config = v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name="pod", namespace="test", uid="1"),
            hostname="pod",
            log_directory="/run/logs",
            linux=v1.LinuxPodSandboxConfig(cgroup_parent=PARENTS[driver], security_context=security),
        )
        self.pid = pid
        self.id = cri.run_pod_sandbox(self.config).pod_sandbox_id

    def start(self, name: str, script: str, resources: v1.LinuxContainerResources) -> str:
        """Runs a shell script in a new container; returns its id."""
        options = v1.NamespaceOption(pid=self.pid)
        config = v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name=name),
            image=v1.ImageSpec(image="localhost/busybox:1"),
            command=["sh", "-c", script],
            log_path=f"{name}.log",
            linux=v1.LinuxContainerConfig(
                resources=resources, security_context=v1.LinuxContainerSecurityContext(namespace_options=options)
            ),
        )
        container = self.cri.create_container(self.id, config, sandbox_config=self.config).container_id
        self.cri.start_container(container)
        return container


def wait_for(what: str, true: Callable[[], bool]) -> None:
    """Waits up to a minute: this machine is emulated."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.1)


def check_limits(cri: Client, pod: Pod, driver: str) -> str:
    """Limits are in the container's cgroup, which lies where the driver puts it; an update changes them."""
    limits = v1.LinuxContainerResources(
        memory_limit_in_bytes=64 * MEGABYTE, cpu_period=100_000, cpu_quota=50_000, cpu_shares=512
    )
    container = pod.start("limited", "echo hello; exec sleep 1000", limits)
    info = json.loads(cri.container_status(container, verbose=True).info["info"])
    own = CGROUPS / Path(f"/proc/{info['pid']}/cgroup").read_text().strip().partition("::/")[2]
    assert CGROUPS / info["cgroup"].lstrip("/") == own, (info["cgroup"], own)
    expected = {
        "systemd": f"test.slice/test-pods.slice/podwright-{container}.scope",
        "cgroupfs": f"test-pods/{container}",
    }
    assert own == CGROUPS / expected[driver], own

    def read(name: str) -> str:
        return (own / name).read_text().strip()

    assert read("memory.max") == str(64 * MEGABYTE)
    assert read("cpu.max") == "50000 100000"
    assert read("cpu.weight") != "100"
    cri.update_container_resources(container, linux=v1.LinuxContainerResources(memory_limit_in_bytes=96 * MEGABYTE))
    assert read("memory.max") == str(96 * MEGABYTE)
    assert read("cpu.max") == "50000 100000", "an update of the memory limit changed the CPU's"
    if driver == "systemd":
        shown = subprocess.run(
            ["systemctl", "show", "-p", "MemoryMax,TasksMax", f"podwright-{container}.scope"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        print(shown)
    status = cri.container_status(container).status
    assert status.resources.linux.memory_limit_in_bytes == 96 * MEGABYTE
    done = cri.exec_sync(container, ["cat", "/proc/self/cgroup"])
    assert (done.exit_code, done.stdout) == (0, b"0::/\n"), done
    usage = cri.container_stats(container).stats
    assert usage.memory.working_set_bytes.value > 0
    assert usage.cpu.usage_core_nano_seconds.value > 0
    assert Path("/run/logs/limited.log").read_text().endswith(" stdout F hello\n")
    return container


def check_out_of_memory(cri: Client, pod: Pod) -> None:
    """A container that takes too much memory ends as OOMKilled."""
    greedy = "exec tail /dev/zero"
    container = pod.start("greedy", greedy, v1.LinuxContainerResources(memory_limit_in_bytes=16 * MEGABYTE))
    wait_for("the kill", lambda: cri.container_status(container).status.state == v1.CONTAINER_EXITED)
    status = cri.container_status(container).status
    assert (status.reason, status.exit_code) == ("OOMKilled", 137), status


def check_end(cri: Client, pod: Pod, driver: str, limited: str) -> None:
    """Stop kills whatever a container has started; nothing is left of the pod."""
    cri.exec_sync(limited, ["sh", "-c", "setsid sleep 2000 >/dev/null 2>&1 & true"])
    cri.stop_container(limited, timeout=0)
    status = cri.container_status(limited).status
    assert status.exit_code == 137, status
    running = subprocess.run(["pgrep", "-f", "sleep [12]000"], capture_output=True, text=True, check=False).stdout
    assert not running, running
    cri.stop_pod_sandbox(pod.id)
    cri.remove_pod_sandbox(pod.id)
    assert not cri.list_containers().containers
    assert not cri.list_pod_sandbox().items
    left = [path for path in glob.glob(f"{CGROUPS}/**", recursive=True) if limited in path]
    assert not left, left
    if driver == "cgroupfs":
        assert not (CGROUPS / "test-pods").exists(), "a cgroup that we made was left"
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    ours = [point for point in mounts if point.startswith(("/run/podwright/", "/run/netns/"))]
    assert not [point for point in ours if not point.startswith("/run/podwright/programs/")], (
        ours
    )  # those are the node's


def main() -> None:
    """Both ways of having process 1, one after the other."""
    driver, handler = sys.argv[1:]
    with daemon(driver, handler), Client(f"unix://{SOCKET}") as cri:
        reported = cri.runtime_config().linux.cgroup_driver
        assert reported == (v1.SYSTEMD if driver == "systemd" else v1.CGROUPFS)
        load_busybox()
        for pid in (v1.CONTAINER, v1.POD):
            pod = Pod(cri, driver, pid)
            limited = check_limits(cri, pod, driver)
            check_out_of_memory(cri, pod)
            check_end(cri, pod, driver, limited)
    print(f"{driver} with {handler}: as it should be")


if __name__ == "__main__":
    main()
