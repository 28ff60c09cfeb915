"""What stock kubelets send, as traced: 1.36 over v1, 1.20 over v1alpha2; and the services of both versions."""

import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from podwright import __version__
from podwright.client import Client
from podwright.cri import v1
from podwright.cri.methods import METHODS, ApiVersion
from podwright.errors import DeadlineExceeded, NotFound
from support.cri import IMAGE, Pods
from support.node import Node, node

pytestmark = pytest.mark.root

LABELS = {
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "default",
    "io.kubernetes.pod.uid": "6c1c4a0e-0001-4e1f-9a51-000000000001",
}


def ask(socket: str, version: ApiVersion, name: str, request: Message | None = None) -> Any:
    """One call by its raw path. Raises grpc.RpcError."""
    method = METHODS[name]
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        connect: Any = channel.unary_stream if method.streams else channel.unary_unary
        call = connect(method.path(version), method.request.SerializeToString, method.response.FromString)
        answer = call(request or method.request(), timeout=30)
        return next(answer) if method.streams else answer


def sandbox_of_1_36(pods: Pods) -> v1.PodSandboxConfig:
    limits = v1.LinuxContainerResources(
        cpu_period=100000, cpu_quota=50000, cpu_shares=102, memory_limit_in_bytes=134217728
    )
    return v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name="web", uid=LABELS["io.kubernetes.pod.uid"], namespace="default"),
        hostname="web",
        log_directory=str(pods.node.directory / "logs/default_web_6c1c4a0e"),
        dns_config=v1.DNSConfig(servers=["10.96.0.10"], searches=["default.svc.cluster.local"], options=["ndots:5"]),
        port_mappings=[v1.PortMapping(container_port=80)],
        labels=LABELS,
        annotations={"kubernetes.io/config.seen": "2026-11-24T16:16:58.1Z", "kubernetes.io/config.source": "file"},
        linux=v1.LinuxPodSandboxConfig(
            cgroup_parent=f"{pods.node.cgroup}/kubepods/burstable/pod6c1c4a0e",
            security_context=v1.LinuxSandboxSecurityContext(
                namespace_options=v1.NamespaceOption(pid=v1.CONTAINER, userns_options=v1.UserNamespace(mode=v1.NODE)),
                seccomp=v1.SecurityProfile(),
            ),
            overhead=v1.LinuxContainerResources(),
            resources=limits,
        ),
    )


def container_of_1_36(pods: Pods, image_id: str) -> v1.ContainerConfig:
    hosts = pods.node.directory / "etc-hosts"
    hosts.write_text("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    termination = pods.node.directory / "termination-log"
    termination.touch(0o666)
    return v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name="c"),
        image=v1.ImageSpec(image=image_id, user_specified_image=IMAGE),
        command=["sh", "-c", "echo started; echo $RAW > /dev/termination-log; exec sleep 1000"],
        envs=[
            v1.KeyValue(key="KUBERNETES_SERVICE_HOST", value=b"10.96.0.1"),
            v1.KeyValue(key="RAW", value=b"all is well"),
        ],
        mounts=[
            v1.Mount(container_path="/etc/hosts", host_path=str(hosts)),
            v1.Mount(container_path="/dev/termination-log", host_path=str(termination)),
        ],
        labels={**LABELS, "io.kubernetes.container.name": "c"},
        annotations={
            "io.kubernetes.container.hash": "f00",
            "io.kubernetes.container.restartCount": "0",
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.terminationMessagePolicy": "File",
            "io.kubernetes.pod.terminationGracePeriod": "30",
        },
        log_path="c/0.log",
        linux=v1.LinuxContainerConfig(
            resources=v1.LinuxContainerResources(
                cpu_period=100000,
                cpu_quota=50000,
                cpu_shares=102,
                memory_limit_in_bytes=134217728,
                memory_swap_limit_in_bytes=134217728,
                oom_score_adj=984,
                hugepage_limits=[v1.HugepageLimit(page_size="2MB"), v1.HugepageLimit(page_size="1GB")],
                unified={"memory.oom.group": "1"},
            ),
            security_context=v1.LinuxContainerSecurityContext(
                namespace_options=v1.NamespaceOption(pid=v1.CONTAINER, userns_options=v1.UserNamespace(mode=v1.NODE)),
                run_as_user=v1.Int64Value(),
                masked_paths=["/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/sys/firmware"],
                readonly_paths=["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
                seccomp=v1.SecurityProfile(profile_type=v1.SecurityProfile.Unconfined),
            ),
        ),
    )


def test_start_of_kubelet_1_36(pods: Pods) -> None:
    cri = pods.cri
    version = cri.version("0.1.0")
    assert version == v1.VersionResponse(
        version="0.1.0", runtime_name="podwright", runtime_version=__version__, runtime_api_version="v1"
    )
    (images,) = cri.image_fs_info().image_filesystems
    assert images.HasField("used_bytes")
    assert Path(f"/proc/{pods.node.daemon}/root{images.fs_id.mountpoint}").is_dir()
    assert cri.runtime_config().linux.cgroup_driver == v1.CGROUPFS
    status = cri.status()
    assert {c.type: c.status for c in status.status.conditions} == {"RuntimeReady": True, "NetworkReady": True}
    assert {"", "crun", "runc"} <= {handler.name for handler in status.runtime_handlers}
    assert status.features.supplemental_groups_policy
    assert not cri.list_containers().containers
    assert not cri.list_pod_sandbox().items
    (image,) = [image for image in cri.list_images().images if IMAGE in image.repo_tags]
    assert image.id
    assert image.size
    with pytest.raises(NotFound):
        cri.container_status("0" * 64)  # for a dangling link in /var/log/containers


def test_a_pod_of_kubelet_1_36(pods: Pods) -> None:
    cri = pods.cri
    config = sandbox_of_1_36(pods)
    sandbox_id = cri.run_pod_sandbox(config).pod_sandbox_id
    sandbox = cri.pod_sandbox_status(sandbox_id).status
    assert (sandbox.metadata, dict(sandbox.labels)) == (config.metadata, LABELS)
    assert dict(sandbox.annotations) == dict(config.annotations)
    annotated = v1.ImageSpec(image=IMAGE, annotations=dict(config.annotations))
    image_id = cri.image_status(annotated).image.id
    container = container_of_1_36(pods, image_id)
    container_id = cri.create_container(sandbox_id, container, sandbox_config=config).container_id
    cri.start_container(container_id)
    by_uid = {"io.kubernetes.pod.uid": LABELS["io.kubernetes.pod.uid"]}
    (listed,) = cri.list_pod_sandbox(v1.PodSandboxFilter(label_selector=by_uid)).items
    assert listed.id == sandbox_id
    (found,) = cri.list_containers(v1.ContainerFilter(label_selector=by_uid)).containers
    assert found.id == container_id
    assert found.HasField("image")
    status = cri.container_status(container_id).status
    assert (status.image_id, status.image.image) == (image_id, IMAGE), "the name that the pod asks for, not the id"
    assert dict(status.annotations) == dict(container.annotations)
    assert status.created_at
    assert status.log_path == f"{config.log_directory}/c/0.log"
    pods.says(container_id, "started")
    assert (pods.node.directory / "termination-log").read_text() == "all is well\n"

    assert cri.exec_sync(container_id, ["cat", "/etc/hosts"], timeout=1).stdout.startswith(b"# Kubernetes-managed")
    with pytest.raises(DeadlineExceeded):
        cri.exec_sync(container_id, ["sleep", "10"], timeout=1)
    (stats,) = cri.list_container_stats().stats
    assert stats.attributes.id == container_id
    assert stats.memory.working_set_bytes.value > 0
    assert stats.HasField("writable_layer")
    cri.update_container_resources(container_id, linux=v1.LinuxContainerResources(cpu_quota=60000, cpu_period=100000))

    began = time.monotonic()
    cri.stop_container(container_id, timeout=2)
    assert time.monotonic() - began < 10
    for _ in range(5):
        cri.stop_pod_sandbox(sandbox_id)
    assert cri.pod_sandbox_status(sandbox_id).status.state == v1.SANDBOX_NOTREADY
    assert cri.container_status(container_id).status.state == v1.CONTAINER_EXITED
    cri.remove_container(container_id)
    with pytest.raises(NotFound):
        cri.container_status(container_id)
    cri.stop_pod_sandbox(sandbox_id)
    cri.remove_pod_sandbox(sandbox_id)
    assert not cri.list_pod_sandbox(v1.PodSandboxFilter(label_selector=by_uid)).items


def test_a_pod_of_the_host_s_network_has_an_empty_network_status(pods: Pods) -> None:
    status = pods.sandbox(pods.run_sandbox())
    assert status.HasField("network"), "kubelets log a warning whenever it is missing"
    assert status.network.ip == ""


def test_a_pod_of_kubelet_1_20_over_v1alpha2(pods: Pods) -> None:
    socket = str(pods.node.socket)

    def alpha(name: str, **fields: Any) -> Any:
        return ask(socket, "v1alpha2", name, METHODS[name].request(**fields))

    version = alpha("Version", version="0.1.0")
    assert (version.version, version.runtime_api_version) == ("0.1.0", "v1alpha2")
    alpha("ImageFsInfo")
    alpha("ListImages")
    assert not alpha("ImageStatus", image=v1.ImageSpec(image="k8s.gcr.io/pause:3.2")).HasField("image")
    assert not alpha("ListPodSandbox").items
    assert not alpha("ListPodSandbox", filter=v1.PodSandboxFilter()).items
    assert len(alpha("Status").status.conditions) == 2

    config = sandbox_of_1_36(pods)
    config.linux.ClearField("resources")
    config.linux.ClearField("overhead")
    config.linux.security_context.seccomp_profile_path = "runtime/default"
    config.linux.security_context.namespace_options.ClearField("userns_options")
    container = container_of_1_36(pods, IMAGE)
    container.linux.security_context.seccomp_profile_path = "unconfined"
    container.linux.security_context.namespace_options.ClearField("userns_options")
    sandbox_id = alpha("RunPodSandbox", config=config).pod_sandbox_id
    assert alpha("PodSandboxStatus", pod_sandbox_id=sandbox_id).status.state == v1.SANDBOX_READY
    created = alpha("CreateContainer", pod_sandbox_id=sandbox_id, config=container, sandbox_config=config)
    container_id = created.container_id
    alpha("StartContainer", container_id=container_id)
    done = alpha("ExecSync", container_id=container_id, cmd=["sh", "-c", "grep Seccomp: /proc/self/status"], timeout=5)
    assert done.stdout == b"Seccomp:\t0\n"
    assert alpha("ContainerStatus", container_id=container_id).status.state == v1.CONTAINER_RUNNING
    (listed,) = alpha("ListContainers").containers
    assert listed.id == container_id
    assert len(alpha("ListContainerStats").stats) == 1
    assert alpha("ContainerStats", container_id=container_id).stats.attributes.id == container_id
    log = Path(alpha("ContainerStatus", container_id=container_id).status.log_path)
    log.rename(f"{log}.20261124")
    alpha("ReopenContainerLog", container_id=container_id)
    assert log.exists()
    limits = v1.LinuxContainerResources(cpu_shares=200)
    alpha("UpdateContainerResources", container_id=container_id, linux=limits)
    alpha("UpdateRuntimeConfig", runtime_config=v1.RuntimeConfig())
    alpha("StopContainer", container_id=container_id, timeout=1)
    for name in ("StopPodSandbox", "StopPodSandbox", "RemovePodSandbox"):
        alpha(name, pod_sandbox_id=sandbox_id)
    with pytest.raises(grpc.RpcError) as failure:
        alpha("PodSandboxStatus", pod_sandbox_id=sandbox_id)
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND


def code_of(socket: str, version: ApiVersion, name: str) -> grpc.StatusCode:
    """What an empty request is answered with."""
    try:
        ask(socket, version, name)
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, grpc.StatusCode)
        return code
    return grpc.StatusCode.OK


def test_v1alpha2_is_what_its_last_release_was() -> None:
    assert sum("v1alpha2" in method.versions for method in METHODS.values()) == 29


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if not method.streams])
def test_each_rpc_is_served(pods: Pods, name: str) -> None:
    for version in METHODS[name].versions:
        assert code_of(str(pods.node.socket), version, name) is not grpc.StatusCode.UNIMPLEMENTED


def test_v1alpha2_has_none_of_the_newer_rpcs(pods: Pods) -> None:
    for method in METHODS.values():
        if "v1alpha2" not in method.versions:
            assert code_of(str(pods.node.socket), "v1alpha2", method.name) is grpc.StatusCode.UNIMPLEMENTED, method.name


def test_each_service_on_an_endpoint_of_its_own() -> None:
    with node() as machine:
        images = machine.directory / "images.sock"
        text = machine.config.read_text()
        machine.config.write_text(text.replace("[directories]", f'image = "unix://{images}"\n[directories]'))
        machine.start()
        with Client(f"unix://{machine.socket}", image_endpoint=f"unix://{images}") as both:
            both.connect()
            assert both.status().status.conditions
            assert not both.list_images().images
        for version in ("v1", "v1alpha2"):
            assert _unknown(machine, machine.socket, version, "ListImages")
            assert _unknown(machine, images, version, "Version")


def _unknown(machine: Node, socket: Path, version: Any, name: str) -> bool:
    assert machine.running
    return code_of(str(socket), version, name) is grpc.StatusCode.UNIMPLEMENTED


def test_the_newest_container_of_a_name_comes_first(pods: Pods) -> None:
    """kubelet 1.36 with EventedPLEG takes the first of its name in PodSandboxStatus for the one that counts: with the
    dead one first it would start the container again, for ever (kuberuntime_manager.go: GetPodStatus).
    """
    sandbox_id = pods.run_sandbox()
    made = []
    for attempt in range(3):
        config = pods.container_config("exit 1", metadata=v1.ContainerMetadata(name="c", attempt=attempt))
        made.append(pods.start(sandbox_id, config))
        pods.exited(made[-1])
    status = pods.cri.pod_sandbox_status(sandbox_id)
    assert status.timestamp
    assert [container.id for container in status.containers_statuses] == made[::-1]
