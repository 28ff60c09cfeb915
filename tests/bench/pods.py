"""Pods as kubelets ask for them (traced with kubelet 1.36), and their lives."""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.peers import IMAGE, Peer
from podwright.cri import v1
from podwright.kernel import cgroups

_numbers = itertools.count(1)

_MASKED = [
    *("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
    *("/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
]
_READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
_SERVICE_VARIABLES = {
    "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
    "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
    "KUBERNETES_PORT_443_TCP_PORT": "443",
    "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
}


@dataclass(slots=True)
class Pod:
    """A pod with one container, on one runtime."""

    peer: Peer
    config: v1.PodSandboxConfig
    cgroup: str
    sandbox: str = ""
    containers: list[str] = field(default_factory=list)


def new_pod(peer: Peer, *, shared_pid: bool = False, host_network: bool = False) -> Pod:
    """A pod that is not running yet. Its cgroup is there, as kubelets make it before they call."""
    number = next(_numbers)
    uid = f"00000000-0000-4000-8000-{number:012}"
    cgroup = f"{peer.pods_cgroup}/pod{uid}"
    for directory in {*cgroups.detect().controllers.values(), cgroups.detect().unified or ""} - {""}:
        os.makedirs(directory + cgroup, exist_ok=True)
    options = v1.NamespaceOption(
        pid=v1.POD if shared_pid else v1.CONTAINER,
        network=v1.NODE if host_network else v1.POD,
        userns_options=v1.UserNamespace(mode=v1.NODE),
    )
    config = v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name=f"pod-{number}", uid=uid, namespace="bench"),
        hostname="" if host_network else f"pod-{number}",
        log_directory=str(peer.machine.directory / "logs" / f"bench_pod-{number}_{uid}"),
        dns_config=v1.DNSConfig(
            servers=["10.96.0.10"],
            searches=["bench.svc.cluster.local", "svc.cluster.local", "cluster.local"],
            options=["ndots:5"],
        ),
        labels={"app": "bench", **_labels(f"pod-{number}", uid)},
        annotations={
            "kubernetes.io/config.seen": "2026-11-01T10:00:00.000000000Z",
            "kubernetes.io/config.source": "api",
        },
        linux=v1.LinuxPodSandboxConfig(
            cgroup_parent=cgroup,
            security_context=v1.LinuxSandboxSecurityContext(namespace_options=options, seccomp=v1.SecurityProfile()),
            resources=_resources(),
            overhead=v1.LinuxContainerResources(),
        ),
    )
    return Pod(peer, config, cgroup)


def _labels(name: str, uid: str) -> dict[str, str]:
    return {
        "io.kubernetes.pod.name": name,
        "io.kubernetes.pod.namespace": "bench",
        "io.kubernetes.pod.uid": uid,
    }


def _resources() -> v1.LinuxContainerResources:
    return v1.LinuxContainerResources(
        cpu_period=100_000,
        cpu_shares=102,
        memory_limit_in_bytes=64 << 20,
        memory_swap_limit_in_bytes=64 << 20,
        oom_score_adj=1000,
    )


def container_config(pod: Pod, name: str) -> v1.ContainerConfig:
    """A container that sleeps, with what a kubelet mounts into it."""
    uid, directory = pod.config.metadata.uid, pod.peer.machine.directory / "kubelet" / pod.config.metadata.uid
    sources = {"/etc/hosts": directory / "etc-hosts", "/dev/termination-log": directory / f"{name}-termination"}
    (directory / "token").mkdir(parents=True, exist_ok=True)
    for source in sources.values():
        source.touch()
    mounts = [v1.Mount(container_path=path, host_path=str(source)) for path, source in sources.items()]
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    mounts.append(v1.Mount(container_path=token, host_path=str(directory / "token"), readonly=True))
    return v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name=name),
        image=v1.ImageSpec(image=IMAGE),
        command=["sleep", "1000000"],
        working_dir="/",
        envs=[v1.KeyValue(key=key, value=value.encode()) for key, value in _SERVICE_VARIABLES.items()],
        mounts=mounts,
        labels={"io.kubernetes.container.name": name, **_labels(pod.config.metadata.name, uid)},
        annotations={
            "io.kubernetes.container.hash": "5c1f3a8b",
            "io.kubernetes.container.restartCount": "0",
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.terminationMessagePolicy": "File",
            "io.kubernetes.pod.terminationGracePeriod": "30",
        },
        log_path=f"{name}/0.log",
        linux=v1.LinuxContainerConfig(
            resources=_resources(),
            security_context=v1.LinuxContainerSecurityContext(
                namespace_options=pod.config.linux.security_context.namespace_options,
                run_as_user=v1.Int64Value(value=0),
                masked_paths=_MASKED,
                readonly_paths=_READ_ONLY,
                seccomp=v1.SecurityProfile(profile_type=v1.SecurityProfile.Unconfined),
            ),
        ),
    )


@contextmanager
def timed(times: dict[str, float], name: str) -> Iterator[None]:
    """Enters how many milliseconds the block took."""
    begun = time.perf_counter()
    yield
    times[name] = (time.perf_counter() - begun) * 1000


def bring_up(pod: Pod) -> dict[str, float]:
    """Runs the pod with one container; returns the milliseconds of each call."""
    times: dict[str, float] = {}
    client, config = pod.peer.client, container_config(pod, "main")
    with timed(times, "RunPodSandbox"):
        pod.sandbox = client.run_pod_sandbox(pod.config).pod_sandbox_id
    with timed(times, "CreateContainer"):
        container = client.create_container(pod.sandbox, config, sandbox_config=pod.config).container_id
    with timed(times, "StartContainer"):
        client.start_container(container)
    pod.containers.append(container)
    return times


def take_down(pod: Pod) -> dict[str, float]:
    """Ends and removes the pod; returns the milliseconds of each call."""
    times: dict[str, float] = {}
    client = pod.peer.client
    with timed(times, "StopContainer"):
        for container in pod.containers:
            client.stop_container(container)
    with timed(times, "StopPodSandbox"):
        client.stop_pod_sandbox(pod.sandbox)
    with timed(times, "RemovePodSandbox"):
        client.remove_pod_sandbox(pod.sandbox)
    cgroups.detect().remove(pod.cgroup)
    return times
