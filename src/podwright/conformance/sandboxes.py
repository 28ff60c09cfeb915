"""Sandboxes: what they have, what their status says, and how they end."""

from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, optional, refused, same
from podwright.cri import v1
from podwright.errors import Code


@check("kubelet: PodSandboxStatus needs id, metadata and created_at")
def status_is_whole(bench: Bench) -> None:
    """A new sandbox is READY, with an address, its labels and annotations unchanged."""
    config = bench.pod_config(annotations={"a": "ü/1"}, labels={"b": ""})
    pod = bench.pod(config)
    status = bench.cri.pod_sandbox_status(pod).status
    same(status.id, pod, "id")
    same(status.metadata, config.metadata, "metadata")
    same(status.state, v1.SANDBOX_READY, "state")
    expect(status.created_at > 0, "created_at is not set")
    expect(status.network.ip, "there is no address")
    same(dict(status.labels), dict(config.labels), "labels")
    same(dict(status.annotations), dict(config.annotations), "annotations")


@check("api.proto, StopPodSandbox: idempotent, and must not fail for a missing sandbox")
def stop_is_idempotent(bench: Bench) -> None:
    """StopPodSandbox may be repeated, and succeeds for a sandbox that does not exist."""
    pod = bench.pod()
    for _ in range(3):
        bench.cri.stop_pod_sandbox(pod)
    same(bench.cri.pod_sandbox_status(pod).status.state, v1.SANDBOX_NOTREADY, "state")
    bench.cri.stop_pod_sandbox("0" * 64)


@check("api.proto, RemovePodSandbox: idempotent, kills what runs, and takes the containers along")
def remove_takes_everything(bench: Bench) -> None:
    """RemovePodSandbox removes a sandbox that runs, with its containers, and may be repeated."""
    pod = bench.pod()
    container = bench.start(pod)
    bench.cri.stop_pod_sandbox(pod)
    for _ in range(2):
        bench.cri.remove_pod_sandbox(pod)
    with refused("PodSandboxStatus of a removed sandbox", Code.NOT_FOUND):
        bench.cri.pod_sandbox_status(pod)
    with refused("ContainerStatus of a container that went with its sandbox", Code.NOT_FOUND):
        bench.cri.container_status(container)


@check("kubelet: takes any code but NotFound for a failure of the runtime")
def missing_is_not_found(bench: Bench) -> None:
    """PodSandboxStatus of a sandbox that does not exist is NOT_FOUND."""
    with refused("PodSandboxStatus of a sandbox that does not exist", Code.NOT_FOUND):
        bench.cri.pod_sandbox_status("0" * 64)


@check("api.proto, RunPodSandboxRequest.runtime_handler: unknown ones are rejected")
def unknown_handler_is_refused(bench: Bench) -> None:
    """A runtime handler that does not exist is refused, and leaves no sandbox."""
    config = bench.pod_config()
    with refused("a sandbox of an unknown handler"):
        bench.cri.run_pod_sandbox(config, runtime_handler="no-such-handler")
    uid = {"io.kubernetes.pod.uid": config.metadata.uid}
    expect(not bench.cri.list_pod_sandbox(v1.PodSandboxFilter(label_selector=uid)).items, "a sandbox is left")


@check("api.proto, PodSandboxConfig.metadata: runtimes may use it for names")
def metadata_is_needed(bench: Bench) -> None:
    """A sandbox without metadata is refused."""
    with refused("a sandbox without metadata"):
        bench.cri.run_pod_sandbox(v1.PodSandboxConfig())


@check("api.proto, PodSandboxConfig.hostname, dns_config")
def name_and_resolver_are_the_pods(bench: Bench) -> None:
    """Containers have the pod's hostname, in $HOSTNAME too, and its resolv.conf."""
    dns = v1.DNSConfig(servers=["192.0.2.53"], searches=["example.org"], options=["ndots:3"])
    container = bench.start(bench.pod(dns_config=dns))
    same(bench.shell(container, "hostname; echo $HOSTNAME").split(), ["conformance"] * 2, "hostname")
    found = bench.shell(container, "cat /etc/resolv.conf")
    for line in ("nameserver 192.0.2.53", "search example.org", "options ndots:3"):
        expect(line in found.splitlines(), f"/etc/resolv.conf has no line {line!r}: {found!r}")


@check("api.proto, NamespaceOption: containers of a pod share its network and IPC")
def network_is_shared(bench: Bench) -> None:
    """Containers of one pod share its network namespace, /dev/shm included; those of two pods do not."""
    pod = bench.pod()
    one, two = (bench.start(pod, name=name) for name in ("one", "two"))
    other = bench.start(bench.pod())
    same(bench.shell(one, "readlink /proc/self/ns/net"), bench.shell(two, "readlink /proc/self/ns/net"), "namespace")
    expect(
        bench.shell(one, "readlink /proc/self/ns/net") != bench.shell(other, "readlink /proc/self/ns/net"),
        "two pods have one network namespace",
    )
    bench.shell(one, "echo seen >/dev/shm/file")
    same(bench.shell(two, "cat /dev/shm/file"), "seen\n", "the other container's /dev/shm/file")


@check("api.proto, NamespaceMode.POD for pid")
def processes_are_shared(bench: Bench) -> None:
    """With pid POD one container sees the processes of another."""
    config = bench.pod_config()
    config.linux.security_context.namespace_options.pid = v1.POD
    pod = bench.pod(config)
    containers = []
    for name in ("one", "two"):
        wanted = bench.container_config("sleep", "4321", name=name)
        wanted.linux.security_context.namespace_options.pid = v1.POD
        containers.append(bench.cri.create_container(pod, wanted, sandbox_config=config).container_id)
        bench.cri.start_container(containers[-1])
    seen = bench.shell(containers[0], "ps -o args").splitlines()
    same(seen.count("sleep 4321"), 2, "how many of the two containers' processes one of them sees")


@check("api.proto, LinuxPodSandboxConfig.sysctls")
def sysctls_are_set(bench: Bench) -> None:
    """Sysctls of the pod are set in its namespaces."""
    config = bench.pod_config()
    config.linux.sysctls["net.ipv4.ip_local_port_range"] = "2000 3000"
    container = bench.start(bench.pod(config))
    same(bench.shell(container, "cat /proc/sys/net/ipv4/ip_local_port_range").split(), ["2000", "3000"], "the range")


@check("kubelet, from 1.33 on: at every resize; UNIMPLEMENTED is accepted")
def resources_of_a_pod_can_be_told(bench: Bench) -> None:
    """UpdatePodSandboxResources takes the sums of a resized pod."""
    limits = v1.LinuxContainerResources(cpu_shares=512, memory_limit_in_bytes=64 << 20)
    pod = bench.pod()
    with optional():
        bench.cri.update_pod_sandbox_resources(pod, overhead=v1.LinuxContainerResources(), resources=limits)
