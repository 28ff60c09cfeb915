"""What pods share with the host and among themselves: network, names, IPC, processes, kernel parameters, users."""

import json
import os
import socket
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.kernel import mounts
from podwright.kernel.namespaces import join
from support.cri import Pods, secured, until

pytestmark = pytest.mark.root

SHARED_PID = secured(namespace_options=v1.NamespaceOption(pid=v1.POD))


def options(**modes: v1.NamespaceMode) -> v1.LinuxPodSandboxConfig:
    wanted = v1.NamespaceOption(**modes)  # type: ignore[arg-type]
    return v1.LinuxPodSandboxConfig(security_context=v1.LinuxSandboxSecurityContext(namespace_options=wanted))


def namespaces(pods: Pods, container_id: str) -> dict[str, str]:
    directory = pods.proc(container_id) / "ns"
    return {kind: os.readlink(directory / kind) for kind in ("net", "uts", "ipc", "pid", "mnt", "user")}


def of_the_node(pods: Pods) -> dict[str, str]:
    directory = f"/proc/{pods.node.holder}/ns"
    return {kind: os.readlink(f"{directory}/{kind}") for kind in ("net", "uts", "ipc", "pid", "mnt", "user")}


def the_same(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {kind for kind in one if one[kind] == other[kind]}


@pytest.fixture(params=["crun", "runc"])
def handler(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_containers_of_a_pod_share_what_pods_share(pods: Pods, handler: str) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config(linux=options(pid=v1.CONTAINER)), handler)
    one, two = (namespaces(pods, pods.start(sandbox_id)) for _ in range(2))
    assert the_same(one, two) == {"net", "uts", "ipc", "user"}
    assert the_same(one, of_the_node(pods)) == {"user"}


def test_the_host_s_namespaces(pods: Pods, handler: str) -> None:
    config = pods.networked_config(linux=options(network=v1.NODE, ipc=v1.NODE, pid=v1.NODE), hostname="")
    sandbox_id = pods.run_sandbox(config, handler)
    linux = secured(namespace_options=v1.NamespaceOption(network=v1.NODE, ipc=v1.NODE, pid=v1.NODE))
    container_id = pods.start(sandbox_id, pods.container_config(linux=linux))
    assert the_same(namespaces(pods, container_id), of_the_node(pods)) == {"net", "uts", "ipc", "pid", "user"}
    assert not pods.sandbox(sandbox_id).network.ip
    told = pods.sandbox(sandbox_id).linux.namespaces.options
    assert (told.network, told.ipc, told.pid) == (v1.NODE, v1.NODE, v1.NODE)
    assert "podwright serve" in pods.exec(container_id, "ps -o args")
    assert pods.exec(container_id, "hostname; ls /sys/class/net").split() == [os.uname().nodename, "lo", "pw0"]


def test_a_shared_pid_namespace(pods: Pods, handler: str) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config(linux=options(pid=v1.POD)), handler)
    one = pods.start(sandbox_id, pods.container_config("sleep 1111; true", linux=SHARED_PID))
    two = pods.start(sandbox_id, pods.container_config("sleep 2222; true", linux=SHARED_PID))
    seen = pods.exec(one, "ps -o pid,args")
    assert "sleep 1111" in seen
    assert "sleep 2222" in seen
    (init,) = [line for line in seen.splitlines() if line.split()[0] == "1"]
    assert "/init" in init
    # Process 1 reaps what is left over, and a container's end is not the pod's.
    assert pods.exec(one, "(sleep 0.01 &) ; sleep 0.1; ps -o stat | grep -c Z || true").strip() == "0"
    pods.cri.stop_container(one, timeout=0)
    assert "sleep 2222" in pods.exec(two, "ps -o args")
    assert "sleep 1111" not in pods.exec(two, "ps -o args")


def test_the_pod_is_over_when_its_process_1_ends(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config(linux=options(pid=v1.POD)))
    container_id = pods.start(sandbox_id, pods.container_config(linux=SHARED_PID))
    info = json.loads(pods.cri.pod_sandbox_status(sandbox_id, verbose=True).info["info"])
    pods.node.run("kill", "-9", str(info["pid"]))
    until(lambda: pods.sandbox(sandbox_id).state, lambda state: state == v1.SANDBOX_NOTREADY)
    assert pods.exited(container_id).exit_code == 137
    with pytest.raises(FailedPrecondition):
        pods.create(sandbox_id, pods.container_config(linux=SHARED_PID))


def test_the_processes_of_a_target(pods: Pods, handler: str) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config(linux=options(pid=v1.CONTAINER)), handler)
    target = pods.start(sandbox_id, "sleep 3333; true")

    def debugger(target_id: str) -> v1.ContainerConfig:
        wanted = v1.NamespaceOption(pid=v1.TARGET, target_id=target_id)
        return pods.container_config("sleep 4444; true", linux=secured(namespace_options=wanted))

    container_id = pods.start(sandbox_id, debugger(target))
    assert "sleep 3333" in pods.exec(container_id, "ps -o args")
    assert the_same(namespaces(pods, container_id), namespaces(pods, target)) == {"net", "uts", "ipc", "pid", "user"}

    other = pods.start(pods.run_sandbox())
    with pytest.raises(InvalidArgument, match=r"target_id: container .* is in another sandbox"):
        pods.create(sandbox_id, debugger(other))
    pods.cri.stop_container(target, timeout=0)
    assert pods.exited(container_id).exit_code == 137
    with pytest.raises(FailedPrecondition, match="is exited, not running"):
        pods.create(sandbox_id, debugger(target))


def test_hostname_and_files(pods: Pods, handler: str) -> None:
    dns = v1.DNSConfig(servers=["10.96.0.10", "10.96.0.11"], searches=["a.local", "b.local"], options=["ndots:5"])
    sandbox_id = pods.run_sandbox(pods.networked_config(hostname="web-0", dns_config=dns), handler)
    container_id = pods.start(sandbox_id, pods.container_config(linux=SHARED_PID))
    assert pods.exec(container_id, "hostname; cat /etc/hostname; echo $HOSTNAME") == "web-0\n" * 3
    resolver = pods.exec(container_id, "cat /etc/resolv.conf").splitlines()
    assert sorted(resolver) == [
        "nameserver 10.96.0.10",
        "nameserver 10.96.0.11",
        "options ndots:5",
        "search a.local b.local",
    ]
    assert "127.0.0.1\tlocalhost" in pods.exec(container_id, "cat /etc/hosts")
    other = pods.start(sandbox_id, pods.container_config(linux=SHARED_PID))
    pods.exec(container_id, "echo 1.2.3.4 friend >> /etc/hosts; echo data > /dev/shm/file")
    assert "1.2.3.4 friend" in pods.exec(other, "cat /etc/hosts")
    assert pods.exec(other, "cat /dev/shm/file; stat -c %a /dev/shm; df -k /dev/shm | tail -n 1").split()[:4] == [
        "data",
        "1777",
        "shm",
        "65536",
    ]


def test_dev_shm_of_the_host_goes_with_its_ipc_namespace(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config(linux=options(ipc=v1.NODE)))
    container_id = pods.start(sandbox_id, pods.container_config(linux=SHARED_PID))
    assert Path(f"/proc/{pods.node.holder}/root/dev/shm").stat().st_dev == int(
        pods.exec(container_id, "stat -c %d /dev/shm")
    )


def test_kernel_parameters(pods: Pods, handler: str) -> None:
    linux = v1.LinuxPodSandboxConfig(
        sysctls={"net.ipv4.ip_local_port_range": "1024 65000", "kernel.shm_rmid_forced": "1", "kernel/msgmax": "9000"}
    )
    sandbox_id = pods.run_sandbox(pods.networked_config(linux=linux), handler)
    container_id = pods.start(sandbox_id, pods.container_config(linux=SHARED_PID))
    script = "cd /proc/sys; cat net/ipv4/ip_local_port_range kernel/shm_rmid_forced kernel/msgmax"
    assert pods.exec(container_id, script).split() == ["1024", "65000", "1", "9000"]
    assert Path("/proc/sys/kernel/shm_rmid_forced").read_text() == "0\n"
    # Nobody needs to be root to serve port 80 or to ping, as with containerd.
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range"
    assert pods.exec(container_id, script).split() == ["0", "0", "2147483647"]
    assert pods.exec(container_id, "ping -c 1 -w 5 127.0.0.1 >/dev/null; echo $?") == "0\n"


def test_a_parameter_that_the_kernel_refuses(pods: Pods) -> None:
    for sysctls in ({"net.ipv4.no_such_thing": "1"}, {"net.ipv4.ip_forward": "many"}):
        with pytest.raises(InvalidArgument, match=f'linux.sysctls: "{next(iter(sysctls))}"'):
            pods.run_sandbox(pods.networked_config(linux=v1.LinuxPodSandboxConfig(sysctls=sysctls)))


def answer(pods: Pods, address: str, port: int) -> bytes:
    """What a server says to somebody on the node."""

    def ask() -> bytes:
        join(f"/proc/{pods.node.holder}/ns/net", "net")
        with socket.create_connection((address, port), timeout=5) as connection:
            return connection.recv(100)

    return mounts.in_thread_of_its_own(ask)


SERVER = "exec nc -ll -p 8080 -e echo hello from $(hostname)"


def test_pods_are_reached(pods: Pods) -> None:
    config = pods.networked_config(
        hostname="server",
        port_mappings=[
            v1.PortMapping(container_port=8080, host_port=18081),
            v1.PortMapping(container_port=8080, host_port=18082, host_ip="127.0.0.1"),
            v1.PortMapping(container_port=8080),
        ],
    )
    sandbox_id = pods.run_sandbox(config)
    container_id = pods.start(sandbox_id, pods.container_config(SERVER, linux=SHARED_PID))
    until(lambda: pods.exec(container_id, "netstat -ltn"), lambda listing: ":8080" in listing)
    ip = pods.sandbox(sandbox_id).network.ip
    gateway = "10.89.0.1"
    for address, port in ((ip, 8080), (gateway, 18081), ("127.0.0.1", 18081), ("127.0.0.1", 18082)):
        assert answer(pods, address, port) == b"hello from server\n", (address, port)
    with pytest.raises(OSError, match="refused"):
        answer(pods, gateway, 18082)

    client = pods.start(pods.run_sandbox(pods.networked_config()), pods.container_config(linux=SHARED_PID))
    assert pods.exec(client, f"nc {ip} 8080") == "hello from server\n"
    assert pods.exec(container_id, f"nc {gateway} 18081") == "hello from server\n", "by way of the host, to itself"

    pods.cri.stop_pod_sandbox(sandbox_id)
    with pytest.raises(OSError, match="refused"):
        answer(pods, "127.0.0.1", 18081)


def test_an_address_is_free_again_after_the_stop(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config())
    ip = pods.sandbox(sandbox_id).network.ip
    pods.cri.stop_pod_sandbox(sandbox_id)
    assert not Path(f"/proc/{pods.node.holder}/root/var/lib/cni/networks/test/{ip}").exists()
    assert pods.node.links() == []


@pytest.mark.parametrize("chosen", ["crun", "runc"])
def test_a_user_namespace(pods: Pods, chosen: str) -> None:
    features = {h.name: h.features for h in pods.cri.status().runtime_handlers}[chosen]
    ids = [v1.IDMapping(container_id=0, host_id=200000, length=65536)]
    mapped = v1.UserNamespace(mode=v1.POD, uids=ids, gids=ids)
    wanted = v1.NamespaceOption(userns_options=mapped, pid=v1.CONTAINER)
    linux = v1.LinuxPodSandboxConfig(security_context=v1.LinuxSandboxSecurityContext(namespace_options=wanted))
    config = pods.networked_config(linux=linux)
    if not features.user_namespaces:
        with pytest.raises(FailedPrecondition, match=r"userns_options: handler \"\w+\" has no user namespaces"):
            pods.run_sandbox(config, chosen)
        return
    container_id = pods.start(
        pods.run_sandbox(config, chosen), pods.container_config(linux=secured(namespace_options=wanted))
    )
    assert pods.exec(container_id, "cat /proc/self/uid_map").split() == ["0", "200000", "65536"]
    assert pods.proc(container_id).stat().st_uid == 200000
    assert pods.exec(container_id, "id -u; stat -c %u /etc/hosts /dev/shm; touch /root/x && echo writes").split() == [
        "0",
        "0",
        "0",
        "writes",
    ]


@pytest.mark.parametrize("pid", [v1.POD, v1.TARGET])
def test_id_mapped_mounts_where_a_pid_namespace_is_joined(pods: Pods, pid: v1.NamespaceMode) -> None:
    """As of `kubectl debug --target` in a pod with hostUsers: false. crun 1.8.1 fails every other time by itself."""
    ids = [v1.IDMapping(container_id=0, host_id=200000, length=65536)]
    mapped = v1.UserNamespace(mode=v1.POD, uids=ids, gids=ids)
    shared = v1.POD if pid == v1.POD else v1.CONTAINER
    security = v1.LinuxSandboxSecurityContext(namespace_options=v1.NamespaceOption(userns_options=mapped, pid=shared))
    sandbox_id = pods.run_sandbox(pods.networked_config(linux=v1.LinuxPodSandboxConfig(security_context=security)))
    volume = pods.node.directory / f"mapped-{pid}"
    volume.mkdir()
    mounts = [v1.Mount(container_path="/v", host_path=str(volume), uidMappings=ids, gidMappings=ids)]

    def config(options: v1.NamespaceOption) -> v1.ContainerConfig:
        return pods.container_config(linux=secured(namespace_options=options), mounts=mounts)

    first = pods.start(sandbox_id, config(v1.NamespaceOption(userns_options=mapped, pid=shared)))
    target = first if pid == v1.TARGET else ""
    for number in range(10):
        wanted = config(v1.NamespaceOption(userns_options=mapped, pid=pid, target_id=target))
        container_id = pods.start(sandbox_id, wanted)
        user = 7 * number
        assert pods.exec(container_id, f"touch /v/{user}; chown {user} /v/{user}; stat -c %u /v/{user}") == f"{user}\n"
        assert (volume / str(user)).stat().st_uid == user


def test_a_user_namespace_with_the_host_s_network(pods: Pods) -> None:
    assert pods.cri.status().features.user_namespaces_host_network
    ids = [v1.IDMapping(container_id=0, host_id=200000, length=65536)]
    mapped = v1.UserNamespace(mode=v1.POD, uids=ids, gids=ids)
    wanted = v1.NamespaceOption(userns_options=mapped, pid=v1.CONTAINER, network=v1.NODE)
    linux = v1.LinuxPodSandboxConfig(security_context=v1.LinuxSandboxSecurityContext(namespace_options=wanted))
    sandbox_id = pods.run_sandbox(pods.sandbox_config(linux=linux), "crun")
    container_id = pods.start(sandbox_id, pods.container_config(linux=secured(namespace_options=wanted)))
    assert pods.exec(container_id, "cat /proc/self/uid_map").split() == ["0", "200000", "65536"]
    assert "pw0" in pods.exec(container_id, "ls /proc/sys/net/ipv4/conf").split()
    assert pods.exec(container_id, "echo 1 >/sys/kernel/mm/ksm/run || echo refused") == "refused\n"
