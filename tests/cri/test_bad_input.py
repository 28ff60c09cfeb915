"""Requests that can never be fulfilled: the right code, a message with the field and the object, and a host on which
nothing has changed.
"""

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from podwright import errors
from podwright.cri import v1
from podwright.cri.methods import METHODS
from support.cri import IMAGE, Pods, secured, until

pytestmark = pytest.mark.root

INVALID, MISSING, IMPOSSIBLE = errors.InvalidArgument, errors.NotFound, errors.FailedPrecondition
NOTHING = "f" * 64


def named(*cases: tuple[str, Any, *tuple[Any, ...]]) -> list[Any]:
    """Cases with their first entry, the message that is expected, as their name."""
    return [pytest.param(*case, id=case[0]) for case in cases]


# ---- sandboxes


def metadata(**fields: Any) -> dict[str, Any]:
    return {"metadata": v1.PodSandboxMetadata(**{"name": "bad", "namespace": "test", "uid": "u", **fields})}


def linux(**fields: Any) -> dict[str, Any]:
    return {"linux": v1.LinuxPodSandboxConfig(**fields)}


def security(**fields: Any) -> dict[str, Any]:
    return linux(security_context=v1.LinuxSandboxSecurityContext(**fields))


def options(**fields: Any) -> dict[str, Any]:
    return security(namespace_options=v1.NamespaceOption(**fields))


def users(*ranges: tuple[int, int, int], **fields: Any) -> dict[str, Any]:
    ids = [v1.IDMapping(container_id=c, host_id=h, length=n) for c, h, n in ranges]
    return options(userns_options=v1.UserNamespace(**{"mode": v1.POD, "uids": ids, "gids": ids, **fields}))


def port(**fields: Any) -> dict[str, Any]:
    return {"port_mappings": [v1.PortMapping(**{"container_port": 80, "host_port": 18080, **fields})]}


def profile(kind: int, ref: str = "") -> v1.SecurityProfile:
    return v1.SecurityProfile(profile_type=kind, localhost_ref=ref)  # type: ignore[arg-type]


LOCALHOST = v1.SecurityProfile.Localhost
OPTIONS = r"linux\.security_context\.namespace_options"
SANDBOXES = named(
    (r"metadata", {"metadata": None}),
    (r"metadata\.name", metadata(name="")),
    (r"metadata\.name: ", metadata(name="a\0b")),
    (r'metadata: "a;b" .* K8S_POD_NAME', metadata(name="a;b")),
    (r'metadata: "x=y" .* K8S_POD_NAMESPACE', metadata(namespace="x=y")),
    (r"hostname: ", {"hostname": "h" * 65}),
    (r"hostname: .*", {"hostname": "a\0"}),
    (r"hostname: .* ", {"hostname": "a\nb"}),
    (r'log_directory: "logs"', {"log_directory": "logs"}),
    (r'log_directory: "/var/log/\.\./\.\./etc"', {"log_directory": "/var/log/../../etc"}),
    (r"log_directory: ", {"log_directory": "/var/log/a\0b"}),
    (r"dns_config\.servers", {"dns_config": v1.DNSConfig(servers=["1.2.3.4\noptions evil"])}),
    (r"dns_config\.searches", {"dns_config": v1.DNSConfig(searches=["a b"])}),
    (r"dns_config\.options", {"dns_config": v1.DNSConfig(options=["\x1b"])}),
    (r"port_mappings\[0\]\.container_port: 0", port(container_port=0)),
    (r"port_mappings\[0\]\.container_port: 65536", port(container_port=65536)),
    (r"port_mappings\[0\]\.host_port: -1", port(host_port=-1)),
    (r"port_mappings\[0\]\.host_port: 70000", port(host_port=70000)),
    (r'port_mappings\[0\]\.host_ip: "localhost"', port(host_ip="localhost")),
    (r"port_mappings\[0\]\.protocol: .* 7", port(protocol=7)),
    (r'linux\.cgroup_parent: "kubepods\.slice".*slice', linux(cgroup_parent="kubepods.slice")),
    (r'linux\.cgroup_parent: "/a/\.\./\.\./b"', linux(cgroup_parent="/a/../../b")),
    (r"linux\.cgroup_parent: ", linux(cgroup_parent="/a\0")),
    (r'linux\.sysctls: "vm\.swappiness" is the whole host', linux(sysctls={"vm.swappiness": "1"})),
    (r'linux\.sysctls: "net\.\.x"', linux(sysctls={"net..x": "1"})),
    (r'linux\.sysctls: "net/\.\./kernel/panic"', linux(sysctls={"net/../kernel/panic": "1"})),
    (r'linux\.sysctls: "kernel\.shm_no"', linux(sysctls={"kernel.shm_no": "1"})),
    (r'linux\.sysctls: "net\.ipv4\.ip_forward"', linux(sysctls={"net.ipv4.ip_forward": "many"})),
    (
        r'linux\.sysctls: "net\.ipv4\.ip_forward" would be the host\'s',
        linux(
            sysctls={"net.ipv4.ip_forward": "0"},
            security_context=v1.LinuxSandboxSecurityContext(namespace_options=v1.NamespaceOption(network=v1.NODE)),
        ),
    ),
    (rf"{OPTIONS}\.network", options(network=v1.CONTAINER)),
    (rf"{OPTIONS}\.network: 9", options(network=9)),
    (rf"{OPTIONS}\.ipc", options(ipc=v1.CONTAINER)),
    (rf"{OPTIONS}\.pid", options(pid=v1.TARGET)),
    (rf"{OPTIONS}\.target_id", options(target_id="x")),
    (rf"{OPTIONS}\.userns_options\.mode", users((0, 100000, 1000), mode=v1.CONTAINER)),
    (rf"{OPTIONS}\.userns_options\.uids: one range", users()),
    (rf"{OPTIONS}\.userns_options\.uids: one range .* 2", users((0, 100000, 1), (1, 200000, 1))),
    (rf"{OPTIONS}\.userns_options\.uids: id 0", users((1, 100000, 1000))),
    (rf"{OPTIONS}\.userns_options\.uids: id 0 ", users((0, 100000, 0))),
    (rf"{OPTIONS}\.userns_options\.uids: the range", users((0, 2**32 - 10, 20))),
    (rf"{OPTIONS}\.userns_options\.gids", users((0, 100000, 1000), gids=[])),
    (r"linux\.security_context\.run_as_user: -1", security(run_as_user=v1.Int64Value(value=-1))),
    (r"linux\.security_context\.run_as_group", security(run_as_group=v1.Int64Value(value=1))),
    (r"linux\.security_context\.supplemental_groups", security(supplemental_groups=[-7])),
    (r"linux\.security_context\.seccomp\.profile_type: .* 9", security(seccomp=profile(9))),
    (r"linux\.security_context\.seccomp\.localhost_ref", security(seccomp=profile(LOCALHOST))),
    (r'linux\.security_context\.seccomp\.localhost_ref: "a\.json"', security(seccomp=profile(LOCALHOST, "a.json"))),
    (r'seccomp profile "/no/such\.json"', security(seccomp=profile(LOCALHOST, "/no/such.json"))),
    (r'linux\.security_context\.seccomp_profile_path: "x"', security(seccomp_profile_path="x")),
    (r"linux\.security_context\.apparmor\.profile_type", security(apparmor=profile(9))),
    (r"linux\.security_context\.apparmor\.localhost_ref", security(apparmor=profile(LOCALHOST))),
    (
        r"linux\.security_context\.selinux_options",
        security(selinux_options=v1.SELinuxOption(user="a:b", role="c", type="d")),
    ),
    (
        r'annotations\["kubernetes\.io/ingress-bandwidth"\]: "much"',
        {"annotations": {"kubernetes.io/ingress-bandwidth": "much"}},
    ),
)


@pytest.mark.parametrize(("message", "fields"), SANDBOXES)
def test_sandboxes(pods: Pods, message: str, fields: dict[str, Any]) -> None:
    logs = set((pods.node.directory / "logs").iterdir())
    config = pods.networked_config(**fields)
    with pytest.raises(errors.PodwrightError, match=f"^{message}") as failure:
        pods.cri.run_pod_sandbox(config)
    assert isinstance(failure.value, INVALID)
    assert not pods.cri.list_pod_sandbox().items
    assert set((pods.node.directory / "logs").iterdir()) == logs


def test_no_sandbox_at_all(pods: Pods) -> None:
    with pytest.raises(INVALID, match=r"^config is missing"):
        raw(pods, "RunPodSandbox", b"")
    with pytest.raises(INVALID, match=r'^runtime_handler: there is no handler "x", but '):
        pods.cri.run_pod_sandbox(pods.sandbox_config(), runtime_handler="x")


# ---- containers


def mount(**fields: Any) -> dict[str, Any]:
    return {"mounts": [v1.Mount(**{"container_path": "/v", "host_path": "/tmp", **fields})]}


def env(key: str, value: bytes = b"") -> dict[str, Any]:
    return {"envs": [v1.KeyValue(key="FINE", value=b""), v1.KeyValue(key=key, value=value)]}


def device(**fields: Any) -> dict[str, Any]:
    defaults = {"host_path": "/dev/null", "container_path": "/dev/x", "permissions": "rwm"}
    return {"devices": [v1.Device(**{**defaults, **fields})]}


def confined(**fields: Any) -> dict[str, Any]:
    return {"linux": secured(**fields)}


def limited(**fields: Any) -> dict[str, Any]:
    config = secured()
    config.resources.CopyFrom(v1.LinuxContainerResources(**fields))
    return {"linux": config}


def namespaced(**fields: Any) -> dict[str, Any]:
    return confined(namespace_options=v1.NamespaceOption(**{"pid": v1.CONTAINER, **fields}))


def capable(**fields: Any) -> dict[str, Any]:
    return confined(capabilities=v1.Capability(**fields))


SECURITY, RESOURCES = r"linux\.security_context", r"linux\.resources"
CONTAINERS = named(
    (r"metadata", INVALID, {"metadata": None}),
    (r"metadata\.name", INVALID, {"metadata": v1.ContainerMetadata()}),
    (r"metadata\.name: ", INVALID, {"metadata": v1.ContainerMetadata(name="a\0")}),
    (r"image\.image", INVALID, {"image": None}),
    (r'image "no-such-image" is not on this node', MISSING, {"image": v1.ImageSpec(image="no-such-image")}),
    (r'image "sha256:0+" is not on this node', MISSING, {"image": v1.ImageSpec(image=f"sha256:{'0' * 64}")}),
    (r".*UPPER case!", INVALID, {"image": v1.ImageSpec(image="UPPER case!")}),
    (r"command\[1\]: has a NUL", INVALID, {"command": ["sh", "a\0b"]}),
    (r"args\[0\]: has a NUL", INVALID, {"args": ["a\0b"]}),
    (r'envs\[1\]\.key: ""', INVALID, env("")),
    (r'envs\[1\]\.key: "A=B"', INVALID, env("A=B")),
    (r"envs\[1\]\.key: ", INVALID, env("A\0")),
    (r"envs\[1\]\.value: .* NUL", INVALID, env("A", b"\0")),
    (r'envs\[1\]\.value: .*"A" is not UTF-8', INVALID, env("A", b"\xff")),
    (r'working_dir: "tmp"', INVALID, {"working_dir": "tmp"}),
    (r"working_dir: ", INVALID, {"working_dir": "/tmp\0"}),
    (r'log_path: "/c\.log"', INVALID, {"log_path": "/c.log"}),
    (r'log_path: "\.\./c\.log"', INVALID, {"log_path": "../c.log"}),
    (r'log_path: "a/\.\./\.\./c"', INVALID, {"log_path": "a/../../c"}),
    (r"log_path: ", INVALID, {"log_path": "c\0"}),
    (r'mounts\[0\]\.container_path: ""', INVALID, mount(container_path="")),
    (r'mounts\[0\]\.container_path: "v"', INVALID, mount(container_path="v")),
    (r'mounts\[0\]\.container_path: "/"', INVALID, mount(container_path="/")),
    (r'mounts\[0\]\.container_path: "/a/\.\./b"', INVALID, mount(container_path="/a/../b")),
    (r'mounts\[0\]\.host_path: ""', INVALID, mount(host_path="")),
    (r'mounts\[0\]\.host_path: "tmp"', INVALID, mount(host_path="tmp")),
    (r'mounts\[0\]\.host_path: "/tmp/\.\./etc"', INVALID, mount(host_path="/tmp/../etc")),
    (r'mounts\[0\]\.host_path: "/no/such/path": No such file', INVALID, mount(host_path="/no/such/path")),
    (r"mounts\[0\]\.host_path: ", INVALID, mount(host_path="/tmp\0")),
    (r"mounts\[0\]\.propagation: .* 9", INVALID, mount(propagation=9)),
    (r'mounts\[0\]\.mount_options: "suid"', INVALID, mount(mount_options=["suid"])),
    (r"mounts\[0\]\.image_sub_path", INVALID, mount(image_sub_path="x")),
    (
        r"ImageVolumeMountFailed: mounts\[0\]\.host_path: must be empty",
        INVALID,
        mount(image=v1.ImageSpec(image=IMAGE), readonly=True),
    ),
    (r"mounts\[0\]\.recursive_read_only", INVALID, mount(recursive_read_only=True)),
    (r"mounts\[0\]\.uidMappings", INVALID, mount(uidMappings=[v1.IDMapping(length=1)])),
    (r'devices\[0\]\.host_path: "null"', INVALID, device(host_path="null")),
    (r'devices\[0\]\.host_path: "/dev/none"', INVALID, device(host_path="/dev/none")),
    (r'devices\[0\]\.host_path: "/etc/passwd"', INVALID, device(host_path="/etc/passwd")),
    (r'devices\[0\]\.container_path: "x"', INVALID, device(container_path="x")),
    (r'devices\[0\]\.permissions: "x"', INVALID, device(permissions="x")),
    (r"CDI_devices\[0\]", INVALID, {"CDI_devices": [v1.CDIDevice(name="no-such")]}),
    (
        r"no CDI specification .* has vendor\.com/none=0",
        IMPOSSIBLE,
        {"CDI_devices": [v1.CDIDevice(name="vendor.com/none=0")]},
    ),
    (rf"{RESOURCES}\.cpu_period: 5 ", INVALID, limited(cpu_period=5)),
    (rf"{RESOURCES}\.cpu_quota: 5 ", INVALID, limited(cpu_quota=5)),
    (rf"{RESOURCES}\.cpu_quota: -2 ", INVALID, limited(cpu_quota=-2)),
    (rf"{RESOURCES}\.cpu_quota: {2**62} ", INVALID, limited(cpu_quota=2**62)),
    (rf"{RESOURCES}\.cpu_shares: -1 ", INVALID, limited(cpu_shares=-1)),
    (rf'{RESOURCES}\.cpuset_cpus: "x"', INVALID, limited(cpuset_cpus="x")),
    (rf'{RESOURCES}\.cpuset_cpus: "3-1"', INVALID, limited(cpuset_cpus="3-1")),
    (rf"{RESOURCES}\.memory_limit_in_bytes: 1 ", INVALID, limited(memory_limit_in_bytes=1)),
    (rf"{RESOURCES}\.memory_limit_in_bytes: -7 ", INVALID, limited(memory_limit_in_bytes=-7)),
    (
        rf"{RESOURCES}\.memory_swap_limit_in_bytes: ",
        INVALID,
        limited(memory_limit_in_bytes=64 << 20, memory_swap_limit_in_bytes=32 << 20),
    ),
    (rf"{RESOURCES}\.oom_score_adj: 1001 ", INVALID, limited(oom_score_adj=1001)),
    (
        rf'{RESOURCES}\.hugepage_limits\[0\]\.page_size: "big"',
        INVALID,
        limited(hugepage_limits=[v1.HugepageLimit(page_size="big")]),
    ),
    (rf'{RESOURCES}\.unified: "cgroup\.kill"', INVALID, limited(unified={"cgroup.kill": "1"})),
    (rf'{RESOURCES}\.unified: "\.\./x\.y"', INVALID, limited(unified={"../x.y": "1"})),
    (rf"{OPTIONS}\.target_id", INVALID, namespaced(pid=v1.TARGET)),
    (rf"{OPTIONS}\.target_id: ", INVALID, namespaced(target_id=NOTHING)),
    (rf'{OPTIONS}\.target_id: container "f+" not found', MISSING, namespaced(pid=v1.TARGET, target_id=NOTHING)),
    (rf"{OPTIONS}\.pid: the sandbox", INVALID, namespaced(pid=v1.POD)),
    (rf"{OPTIONS}\.pid: 9", INVALID, namespaced(pid=9)),
    (rf"{OPTIONS}\.ipc", INVALID, namespaced(ipc=v1.TARGET)),
    (
        rf"{OPTIONS}\.userns_options",
        INVALID,
        namespaced(
            userns_options=v1.UserNamespace(mode=v1.POD, uids=[v1.IDMapping(length=10)], gids=[v1.IDMapping(length=10)])
        ),
    ),
    (rf"{SECURITY}\.privileged", INVALID, confined(privileged=True)),
    (rf"{SECURITY}\.run_as_user: -1", INVALID, confined(run_as_user=v1.Int64Value(value=-1))),
    (rf"{SECURITY}\.run_as_user: {2**32}", INVALID, confined(run_as_user=v1.Int64Value(value=2**32))),
    (rf"{SECURITY}\.run_as_group", INVALID, confined(run_as_group=v1.Int64Value(value=5))),
    (rf'{SECURITY}\.run_as_username: .* "nobody-here"', INVALID, confined(run_as_username="nobody-here")),
    (
        rf"{SECURITY}\.run_as_user",
        INVALID,
        confined(run_as_user=v1.Int64Value(value=1), run_as_username="alice"),
    ),
    (rf"{SECURITY}\.supplemental_groups", INVALID, confined(supplemental_groups=[-1])),
    (rf"{SECURITY}\.supplemental_groups_policy: .* 9", INVALID, confined(supplemental_groups_policy=9)),
    (rf'{SECURITY}\.capabilities\.add_capabilities.*"NO_SUCH"', INVALID, capable(add_capabilities=["NO_SUCH"])),
    (rf'{SECURITY}\.capabilities\.drop_capabilities.*"NO_SUCH"', INVALID, capable(drop_capabilities=["NO_SUCH"])),
    (rf'{SECURITY}\.masked_paths: "proc"', INVALID, confined(masked_paths=["proc"])),
    (rf'{SECURITY}\.readonly_paths: "/a/\.\."', INVALID, confined(readonly_paths=["/a/.."])),
    (rf"{SECURITY}\.seccomp\.localhost_ref", INVALID, confined(seccomp=profile(LOCALHOST))),
    (r'seccomp profile "/no/such"', INVALID, confined(seccomp=profile(LOCALHOST, "/no/such"))),
    (r'seccomp profile "/etc/passwd"', INVALID, confined(seccomp=profile(LOCALHOST, "/etc/passwd"))),
    (rf"{SECURITY}\.apparmor\.localhost_ref", INVALID, confined(apparmor=profile(LOCALHOST))),
    (r'AppArmor profile "no-such"', IMPOSSIBLE, confined(apparmor=profile(LOCALHOST, "no-such"))),
    (rf"{SECURITY}\.selinux_options", INVALID, confined(selinux_options=v1.SELinuxOption(level="s0\0"))),
    (r"stop_signal: .* 999", INVALID, {"stop_signal": 999}),
)

REFUSED_LATER = named(
    (r'command: "/no/such" cannot be run in container "bad', {"command": ["/no/such"]}),
    (r'command: "nosuch" cannot be run in container "bad', {"command": ["nosuch"]}),
    (r'command: "/etc" cannot be run in container "bad', {"command": ["/etc"]}),
    (r'command: "/etc/passwd" cannot be run in container "bad', {"command": ["/etc/passwd"]}),
    (r'working_dir: there can be no container "bad".*/etc/passwd', {"working_dir": "/etc/passwd"}),
    (r'mounts: there can be no container "bad".*/etc/passwd/x', mount(container_path="/etc/passwd/x")),
    (r'mounts: there can be no container "bad".*etc/group', mount(container_path="/etc/group")),
    (r'linux\.resources: there can be no container "bad".*cpuset\.cpus', limited(cpuset_cpus="4000")),
    (r'linux\.resources: there can be no container "bad".*cpuset\.mems', limited(cpuset_mems="63")),
)
"""What only the OCI runtime finds out, and StartContainer tells."""


def refused(pods: Pods, sandbox_id: str, fields: dict[str, Any], message: str, kind: type[Exception]) -> None:
    """CreateContainer fails so, and leaves nothing."""
    logs = set((pods.node.directory / "logs").iterdir())
    config = pods.container_config("true", **{"metadata": v1.ContainerMetadata(name="bad"), **fields})
    with pytest.raises(errors.PodwrightError, match=f"^{message}") as failure:
        pods.create(sandbox_id, config)
    assert type(failure.value) is kind, failure.value
    assert not pods.cri.list_containers().containers
    assert set((pods.node.directory / "logs").iterdir()) == logs


@pytest.mark.parametrize(("message", "kind", "fields"), CONTAINERS)
def test_containers(pods: Pods, message: str, kind: type[Exception], fields: dict[str, Any]) -> None:
    refused(pods, pods.run_sandbox(), fields, message, kind)


@pytest.mark.parametrize("handler", ["crun", "runc"])
@pytest.mark.parametrize(("message", "fields"), REFUSED_LATER)
def test_containers_that_only_the_oci_runtime_refuses(
    pods: Pods, handler: str, message: str, fields: dict[str, Any]
) -> None:
    container_id = pods.create(pods.run_sandbox(handler=handler), name="bad", **fields)
    assert pods.status(container_id).state == v1.CONTAINER_CREATED
    until(pods.node.processes, lambda left: not left)
    with pytest.raises(INVALID, match=f"^{message}") as failure:
        pods.cri.start_container(container_id)
    status = pods.status(container_id)
    assert (status.state, status.exit_code, status.reason) == (v1.CONTAINER_EXITED, 128, "StartError")
    assert status.message == str(failure.value)
    assert (status.started_at, status.finished_at >= status.created_at) == (0, True)
    assert not [point for point in pods.node.mounts() if container_id in point]
    with pytest.raises(IMPOSSIBLE, match="is exited"):
        pods.cri.start_container(container_id)


def test_nothing_to_run(pods: Pods) -> None:
    pods.load_image("test.local/empty:1", Cmd=[])
    config = pods.container_config(command=[], image=v1.ImageSpec(image="test.local/empty:1"))
    with pytest.raises(INVALID, match=r"^command: neither the container nor its image"):
        pods.create(pods.run_sandbox(), config)


def test_a_log_path_with_a_file_in_its_way(pods: Pods) -> None:
    sandbox_config = pods.sandbox_config()
    sandbox_id = pods.run_sandbox(sandbox_config)
    pods.run(sandbox_id, pods.container_config("echo x", log_path="file"))
    for path in ("file/c.log", "."):
        with pytest.raises(INVALID, match=f'^log_path: "{path}"'):
            pods.create(sandbox_id, pods.container_config(log_path=path))


# ---- the other calls


def test_ids(pods: Pods) -> None:
    calls: list[Callable[[str], object]] = [
        pods.cri.pod_sandbox_status,
        pods.cri.stop_pod_sandbox,
        pods.cri.remove_pod_sandbox,
        lambda one: pods.cri.create_container(one, pods.container_config()),
        pods.cri.start_container,
        pods.cri.stop_container,
        pods.cri.remove_container,
        pods.cri.container_status,
        pods.cri.reopen_container_log,
        pods.cri.container_stats,
        lambda one: pods.cri.exec_sync(one, ["true"]),
        lambda one: pods.cri.update_container_resources(one, linux=v1.LinuxContainerResources()),
    ]
    for call in calls:
        with pytest.raises(INVALID, match=r"^the id of the (container|pod sandbox) is empty"):
            call("")


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (r"linux is missing", None),
        (r"linux\.cpu_period: 5 ", {"cpu_period": 5}),
        (r"linux\.memory_limit_in_bytes: 1 ", {"memory_limit_in_bytes": 1}),
        (r"linux: the kernel refuses a limit: .*cpuset\.cpus", {"cpuset_cpus": "4000"}),
        (r"linux\.oom_score_adj: 5000", {"oom_score_adj": 5000}),
    ],
)
def test_updates(pods: Pods, message: str, fields: dict[str, Any] | None) -> None:
    container_id = pods.start(pods.run_sandbox())
    before = pods.status(container_id)
    wanted = None if fields is None else v1.LinuxContainerResources(**fields)
    with pytest.raises(INVALID, match=f"^{message}"):
        pods.cri.update_container_resources(container_id, linux=wanted)
    assert pods.status(container_id) == before


@pytest.mark.parametrize("character", ["x", "ü"])
def test_a_message_about_something_long_arrives(pods: Pods, character: str) -> None:
    """Clients take little more than eight kilobytes of a status, and get another one instead of a longer one."""
    long = character * 100000
    with pytest.raises(INVALID, match=rf'^log_directory: "{character}{character}.* is no absolute path'):
        pods.run_sandbox(pods.sandbox_config(log_directory=long))
    with pytest.raises(MISSING, match=rf'^container "{character}{character}.* not found'):
        pods.cri.container_status(long)


def test_what_is_no_request(pods: Pods) -> None:
    for name in METHODS:
        if not METHODS[name].streams and METHODS[name].request.DESCRIPTOR.fields:
            with pytest.raises(
                (INVALID, errors.Unimplemented), match=f"^{name}: the request is not a valid|Method not"
            ):
                raw(pods, name, b"\xff\xff")
    bad_text = v1.PodSandboxConfig(hostname="a").SerializeToString().replace(b"a", b"\xff")
    with pytest.raises(INVALID, match=r"^RunPodSandbox: the request is not a valid RunPodSandboxRequest"):
        raw(pods, "RunPodSandbox", b"\x0a" + bytes([len(bad_text)]) + bad_text)


def test_images(pods: Pods) -> None:
    for call in (pods.cri.image_status, pods.cri.remove_image, pods.cri.pull_image):
        with pytest.raises(INVALID, match=r"^image\.image is empty"):
            call("")
        with pytest.raises(INVALID, match="UPPER case!"):
            call("UPPER case!")


def test_the_pod_cidr(pods: Pods) -> None:
    config = v1.RuntimeConfig(network_config=v1.NetworkConfig(pod_cidr="10.0.0.0/99"))
    with pytest.raises(INVALID, match=r"^runtime_config\.network_config\.pod_cidr: "):
        pods.cri.update_runtime_config(config)


def raw(pods: Pods, name: str, request: bytes) -> Message:
    """One call with any bytes as the request. Raises as the client does."""
    method = METHODS[name]
    with grpc.insecure_channel(f"unix:{pods.node.socket}") as channel:
        call: Any = channel.unary_unary(method.path("v1"), response_deserializer=method.response.FromString)
        try:
            answer = call(request, timeout=30)
        except grpc.RpcError as error:
            kinds = {grpc.StatusCode.INVALID_ARGUMENT: INVALID, grpc.StatusCode.UNIMPLEMENTED: errors.Unimplemented}
            raise kinds.get(error.code(), errors.PodwrightError)(str(error.details())) from None
    assert isinstance(answer, Message)
    return answer
