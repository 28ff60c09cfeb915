"""Users, capabilities, filters: what the processes of a container are and may do."""

import functools
import json
import shutil
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.kernel import process
from support.cri import IMAGE, Pods, host_network, secured
from support.node import node

pytestmark = pytest.mark.root

DEFAULT_CAPABILITIES = 14
"""How many containerd gives, and so do we."""


@pytest.fixture(params=["crun", "runc"])
def sandbox(pods: Pods, request: pytest.FixtureRequest) -> str:
    return pods.run_sandbox(handler=request.param)


def run(pods: Pods, sandbox_id: str, script: str, **security: object) -> str:
    """The output of a script with this security context; it must succeed."""
    code, output = pods.run(sandbox_id, pods.container_config(script, linux=secured(**security)))
    assert code == 0, output
    return output


def number(value: int) -> v1.Int64Value:
    return v1.Int64Value(value=value)


@pytest.mark.parametrize(
    ("security", "ids", "told"),
    [
        ({}, "0 0 0 60", (0, 0, [0, 60])),
        ({"run_as_user": v1.Int64Value()}, "0 0 0 60", (0, 0, [0, 60])),
        ({"run_as_user": number(1000)}, "1000 1001 1001 50", (1000, 1001, [1001, 50])),
        ({"run_as_username": "alice"}, "1000 1001 1001 50", (1000, 1001, [1001, 50])),
        ({"run_as_user": number(4711)}, "4711 0 0", (4711, 0, [0])),
        (
            {"run_as_user": number(1000), "run_as_group": number(77), "supplemental_groups": [88]},
            "1000 77 77 50 88",
            (1000, 77, [77, 50, 88]),
        ),
        (
            {
                "run_as_user": number(1000),
                "supplemental_groups": [88],
                "supplemental_groups_policy": v1.Strict,
            },
            "1000 1001 1001 88",
            (1000, 1001, [1001, 88]),
        ),
    ],
)
def test_who(pods: Pods, sandbox: str, security: dict[str, object], ids: str, told: tuple[int, int, list[int]]) -> None:
    container_id = pods.start(sandbox, pods.container_config(linux=secured(**security)))
    assert pods.exec(container_id, "echo $(id -u) $(id -g) $(id -G)") == f"{ids}\n"
    user = pods.status(container_id).user.linux
    assert (user.uid, user.gid, sorted(user.supplemental_groups)) == (*told[:2], sorted(told[2]))


def test_the_image_s_user_home_and_directory(pods: Pods, sandbox: str) -> None:
    pods.load_image("test.local/alice:1", User="alice:staff", WorkingDir="/home/alice", Env=["PATH=/bin", "A=of image"])
    config = pods.container_config(
        "id -un; id -gn; pwd; echo $HOME $A $B",
        image=v1.ImageSpec(image="test.local/alice:1"),
        envs=[v1.KeyValue(key="B", value="grün".encode())],
    )
    assert pods.run(sandbox, config) == (0, "alice\nstaff\n/home/alice\n/home/alice of image grün\n")


@pytest.mark.parametrize("user", ["9" * 30, "9" * 5000, f"0:{'9' * 30}"], ids=["uid", "long uid", "gid"])
def test_an_image_whose_user_cannot_be(pods: Pods, sandbox: str, user: str) -> None:
    pods.load_image("test.local/nobody:1", User=user)
    config = pods.container_config("true", image=v1.ImageSpec(image="test.local/nobody:1"))
    with pytest.raises(InvalidArgument, match=r"^user of the image: \d+ is not between"):
        pods.create(sandbox, config)
    assert pods.cri.list_images().images
    pods.cri.remove_image("test.local/nobody:1")


@pytest.mark.parametrize(
    ("command", "args", "expected"),
    [
        ([], [], "of entrypoint of cmd"),
        ([], ["x", "y"], "of entrypoint x y"),
        (["echo", "own"], [], "own"),
        (["echo", "own"], ["z"], "own z"),
    ],
)
def test_what_is_run(pods: Pods, sandbox: str, command: list[str], args: list[str], expected: str) -> None:
    pods.load_image("test.local/echo:1", Entrypoint=["echo", "of entrypoint"], Cmd=["of cmd"])
    config = pods.container_config(image=v1.ImageSpec(image="test.local/echo:1"), command=command, args=args)
    assert pods.run(sandbox, config) == (0, f"{expected}\n")


def capabilities(status: str) -> dict[str, int]:
    fields = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    return {name: int(value, 16) for name, value in fields.items()}


def test_capabilities(pods: Pods, sandbox: str) -> None:
    status = "grep Cap /proc/self/status"
    default = capabilities(run(pods, sandbox, status))
    assert default["CapEff"] == default["CapBnd"]
    assert default["CapEff"].bit_count() == DEFAULT_CAPABILITIES
    assert default["CapAmb"] == 0
    none = capabilities(run(pods, sandbox, status, capabilities=v1.Capability(drop_capabilities=["ALL"])))
    assert none["CapBnd"] == 0
    added = v1.Capability(drop_capabilities=["ALL"], add_capabilities=["NET_ADMIN", "cap_sys_time"])
    assert capabilities(run(pods, sandbox, status, capabilities=added))["CapEff"] == 1 << 12 | 1 << 25
    everything = capabilities(run(pods, sandbox, status, capabilities=v1.Capability(add_capabilities=["ALL"])))
    assert everything["CapEff"] == process.bounding_capabilities()
    user = capabilities(run(pods, sandbox, status, run_as_user=number(1000)))
    assert user["CapEff"] == 0


def test_a_privileged_container(pods: Pods) -> None:
    for handler in ("crun", "runc"):
        linux = v1.LinuxPodSandboxConfig(security_context=host_network(privileged=True))
        sandbox_id = pods.run_sandbox(pods.sandbox_config(linux=linux), handler)
        script = "grep -e CapEff -e Seccomp: /proc/self/status; touch /proc/sys/kernel/domainname && echo rw; ls /dev"
        output = run(
            pods,
            sandbox_id,
            script,
            privileged=True,
            masked_paths=["/proc/keys"],
            readonly_paths=["/proc/sys"],
            seccomp=v1.SecurityProfile(profile_type=v1.SecurityProfile.RuntimeDefault),
        )
        assert f"CapEff:\t{process.bounding_capabilities():016x}\n" in output
        assert "Seccomp:\t0\n" in output
        assert "\nrw\n" in output
        assert "kmsg" in output


def test_privileges_only_where_the_sandbox_has_them(pods: Pods, sandbox: str) -> None:
    with pytest.raises(InvalidArgument, match=r"linux\.security_context\.privileged"):
        pods.create(sandbox, pods.container_config(linux=secured(privileged=True)))


def test_restrictions(pods: Pods, sandbox: str) -> None:
    output = run(
        pods,
        sandbox,
        """
        grep NoNewPrivs /proc/self/status
        touch /x 2>/dev/null || echo read-only root
        touch /tmp/x 2>/dev/null || echo all of it
        head -c 1 /proc/keys; ls /sys/firmware
        echo 1 2>/dev/null >/proc/sys/kernel/panic || echo read-only sysctl
        """,
        no_new_privs=True,
        readonly_rootfs=True,
        masked_paths=["/proc/keys", "/sys/firmware"],
        readonly_paths=["/proc/sys"],
    )
    assert output == "NoNewPrivs:\t1\nread-only root\nall of it\nread-only sysctl\n"
    assert run(pods, sandbox, "grep NoNewPrivs /proc/self/status; touch /x") == "NoNewPrivs:\t0\n"


def test_seccomp(pods: Pods, sandbox: str, tmp_path: Path) -> None:
    mode = "grep Seccomp: /proc/self/status"
    default, unconfined, localhost = (
        v1.SecurityProfile.RuntimeDefault,
        v1.SecurityProfile.Unconfined,
        v1.SecurityProfile.Localhost,
    )
    assert run(pods, sandbox, mode) == "Seccomp:\t0\n"
    assert run(pods, sandbox, mode, seccomp=v1.SecurityProfile(profile_type=unconfined)) == "Seccomp:\t0\n"
    assert run(pods, sandbox, mode, seccomp=v1.SecurityProfile()) == "Seccomp:\t2\n", "an empty one means the default"
    output = run(
        pods,
        sandbox,
        f"{mode}; mkdir /d; unshare -m true 2>&1 || true",
        seccomp=v1.SecurityProfile(profile_type=default),
        capabilities=v1.Capability(add_capabilities=["NET_ADMIN"]),
    )
    assert output == "Seccomp:\t2\nunshare: unshare(0x20000): Operation not permitted\n"
    assert run(pods, sandbox, mode, seccomp_profile_path="runtime/default") == "Seccomp:\t2\n"

    profile = tmp_path / "no-mkdir.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    own = v1.SecurityProfile(profile_type=localhost, localhost_ref=str(profile))
    assert "Operation not permitted" in run(pods, sandbox, "mkdir /d 2>&1 || true", seccomp=own)
    with pytest.raises(InvalidArgument, match='seccomp profile "/no/such"'):
        run(pods, sandbox, mode, seccomp=v1.SecurityProfile(profile_type=localhost, localhost_ref="/no/such"))


def test_devices(pods: Pods, sandbox: str) -> None:
    config = pods.container_config(
        "stat -c %F /dev/fuse /dev/renamed; head -c 4 /dev/renamed | wc -c; ls /dev/kmsg",
        devices=[
            v1.Device(host_path="/dev/fuse", container_path="/dev/fuse", permissions="rwm"),
            v1.Device(host_path="/dev/zero", container_path="/dev/renamed", permissions="rm"),
        ],
    )
    code, output = pods.run(sandbox, config)
    assert code == 1, "there is no other device of the host"
    assert output.splitlines()[:3] == ["character special file", "character special file", "4"]


def test_names_of_images(pods: Pods, sandbox: str) -> None:
    image_id = pods.cri.image_status(IMAGE).image.id
    for name in (image_id, image_id.removeprefix("sha256:"), image_id[:20]):
        config = pods.container_config("true", image=v1.ImageSpec(image=name, user_specified_image=IMAGE))
        container_id = pods.create(sandbox, config)
        status = pods.status(container_id)
        assert status.image.image == IMAGE  # what people know it by, as containerd shows it
        assert status.image.user_specified_image == IMAGE
        assert status.image_id == image_id


# ---- AppArmor


@functools.cache
def has_apparmor() -> bool:
    """Whether this kernel confines by it, and profiles can be loaded."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    return enabled.exists() and enabled.read_text() == "Y\n" and shutil.which("apparmor_parser") is not None


@pytest.mark.skipif("not has_apparmor()", reason="no AppArmor here")
def test_containers_are_confined_by_our_apparmor_profile(pods: Pods, sandbox: str) -> None:
    script = "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done"
    container_id = pods.start(sandbox, script)
    pods.says(container_id, "ready")
    assert pods.exec(container_id, "cat /proc/self/attr/current") == "podwright-default (enforce)\n"
    assert pods.exec(container_id, "echo h 2>&1 >/proc/sysrq-trigger || echo refused").endswith("refused\n")
    assert pods.exec(container_id, "sleep 100 & kill $! && echo signals") == "signals\n"
    pods.cri.stop_container(container_id, timeout=20)
    assert pods.status(container_id).exit_code == 5
    unconfined = v1.SecurityProfile(profile_type=v1.SecurityProfile.Unconfined)
    assert run(pods, sandbox, "cat /proc/self/attr/current", apparmor=unconfined) == "unconfined\n"


@pytest.mark.parametrize("status", [0, 1])
def test_the_apparmor_profile_is_loaded_at_the_start(status: int) -> None:
    """By a parser that only notes what it is given, on a kernel that says that it has AppArmor."""
    with node() as machine:
        loaded = machine.directory / "loaded"
        programs = machine.directory / "programs"
        programs.mkdir()
        (programs / "apparmor_parser").write_text(f"#!/bin/sh\ncat >{loaded}\necho no such luck >&2\nexit {status}\n")
        (programs / "apparmor_parser").chmod(0o755)
        machine.run("mount", "--bind", str(programs), "/usr/local/sbin")
        machine.run("mount", "-t", "tmpfs", "modules", "/sys/module")
        machine.run("mkdir", "-p", "/sys/module/apparmor/parameters")
        machine.run("sh", "-c", "echo Y >/sys/module/apparmor/parameters/enabled")
        machine.start()
        assert "profile podwright-default" in loaded.read_text()
        assert ("will run without AppArmor" in machine.log.read_text()) == (status != 0)
