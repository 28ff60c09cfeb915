"""What oci/ describes, run by real OCI runtimes and seen from inside."""

import os
import stat
from pathlib import Path

import pytest

from podwright.cri import v1
from podwright.oci import capabilities
from support.oci import (
    Image,
    InPod,
    Pod,
    sandbox_config,
    secured_sandbox,
    shell,
    status_fields,
    with_security,
)

pytestmark = pytest.mark.root


def mask(*names: str) -> int:
    """A capability mask as /proc shows it."""
    return sum(1 << capabilities.NAMES.index(f"CAP_{name}") for name in names)


def capability_fields(text: str) -> dict[str, int]:
    return {name: int(value, 16) for name, value in status_fields(text).items() if name.startswith("Cap")}


def test_a_container_without_wishes(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        status = status_fields(pod.output(shell("cat /proc/self/status"), rootfs))
        default = mask(*(name.removeprefix("CAP_") for name in capabilities.DEFAULT))
        assert capability_fields(pod.output(shell("cat /proc/self/status"), rootfs)) == {
            "CapInh": 0,
            "CapPrm": default,
            "CapEff": default,
            "CapBnd": default,
            "CapAmb": 0,
        }
        assert (status["Seccomp"], status["NoNewPrivs"], status["Groups"]) == ("0", "0", "0")
        assert pod.output(shell("cat /proc/self/oom_score_adj"), rootfs) == "0\n"

    in_pod(test)


def test_what_is_mounted(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        lines = pod.output(shell("cat /proc/self/mounts"), rootfs).splitlines()
        mounted = {fields[1]: (fields[2], set(fields[3].split(","))) for fields in map(str.split, lines)}
        safe = {"nosuid", "nodev", "noexec"}
        for path, kind, options in (
            ("/proc", "proc", {*safe, "rw"}),
            ("/dev", "tmpfs", {"nosuid", "size=65536k", "mode=755"}),
            ("/dev/pts", "devpts", {"nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"}),
            ("/dev/mqueue", "mqueue", safe),
            ("/dev/shm", "tmpfs", {*safe, "size=8192k", "rw"}),
            ("/sys", "sysfs", {*safe, "ro"}),
        ):
            assert mounted[path][0] == kind
            assert options <= mounted[path][1], path
        assert "ro" in mounted["/sys/fs/cgroup" if pod.host.v2 else "/sys/fs/cgroup/memory"][1]
        assert pod.output(shell("cat /etc/hosts /etc/resolv.conf /etc/hostname; touch /etc/hosts"), rootfs) == (
            "hosts of the sandbox\nresolv.conf of the sandbox\nhostname of the sandbox\n"
        )

    in_pod(test)


def test_the_sandbox_is_shared(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        assert (
            pod.output(shell("cat /proc/sys/kernel/hostname; echo $HOSTNAME; echo x > /dev/shm/x"), rootfs)
            == "inside\ninside\n"
        )
        assert pod.output(shell("cat /dev/shm/x"), rootfs) == "x\n"
        for kind in ("net", "ipc", "uts"):
            inside = pod.output(shell(f"stat -Lc %i /proc/self/ns/{kind}"), rootfs)
            assert int(inside) == os.stat(pod.pins[kind]).st_ino

    in_pod(test, config=sandbox_config(hostname="inside"))


def test_environment_directory_and_user(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        image = Image(env=("A=image", "B=image", "PATH=/bin", "BROKEN"), user="alice", working_dir="/made/by/us")
        config = shell("env; echo CWD=$(readlink /proc/self/cwd); id -u; id -g; id -G")
        config.envs.extend(
            [v1.KeyValue(key="B", value=b"cri"), v1.KeyValue(key="C", value="zwei\nZeilen mit ö".encode())]
        )
        config.linux.security_context.supplemental_groups.extend([7, 6])
        text = pod.output(config, rootfs, image=image)
        for line in ("A=image", "B=cri", "C=zwei\nZeilen mit ö", "PATH=/bin", "HOME=/home/alice", "CWD=/made/by/us"):
            assert f"{line}\n" in text
        assert "BROKEN" not in text
        assert text.endswith("1000\n1001\n1001 6 7 50\n")

    in_pod(test)


@pytest.mark.parametrize(
    ("security", "ids"),
    [
        ({"run_as_user": v1.Int64Value(value=1000)}, "1000\n1001\n1001 50\n"),
        ({"run_as_user": v1.Int64Value(value=0)}, "0\n0\n0\n"),
        ({"run_as_user": v1.Int64Value(value=4000)}, "4000\n0\n0\n"),
        ({"run_as_username": "alice", "run_as_group": v1.Int64Value(value=9)}, "1000\n9\n9 50\n"),
        (
            {"run_as_username": "alice", "supplemental_groups": [8], "supplemental_groups_policy": v1.Strict},
            "1000\n1001\n1001 8\n",
        ),
    ],
)
def test_users(in_pod: InPod, security: dict[str, object], ids: str) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        assert pod.output(with_security(shell("id -u; id -g; id -G"), **security), rootfs) == ids

    in_pod(test)


@pytest.mark.parametrize(
    ("security", "bounding", "effective", "ambient"),
    [
        ({"drop_capabilities": ["ALL"]}, [], [], []),
        ({"drop_capabilities": ["ALL"], "add_capabilities": ["net_raw", "CAP_CHOWN"]}, ["CHOWN", "NET_RAW"], [], []),
        (
            {"drop_capabilities": ["ALL"], "add_ambient_capabilities": ["NET_RAW"]},
            ["NET_RAW"],
            ["NET_RAW"],
            ["NET_RAW"],
        ),
    ],
)
def test_capabilities_of_who_is_not_root(
    in_pod: InPod, security: dict[str, list[str]], bounding: list[str], effective: list[str], ambient: list[str]
) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        config = with_security(
            shell("cat /proc/self/status"),
            capabilities=v1.Capability(**security),
            run_as_user=v1.Int64Value(value=1000),
        )
        assert capability_fields(pod.output(config, rootfs)) == {
            "CapBnd": mask(*bounding),
            "CapEff": mask(*effective),
            "CapPrm": mask(*effective),
            "CapInh": mask(*ambient),
            "CapAmb": mask(*ambient),
        }

    in_pod(test)


def test_all_capabilities_are_those_that_the_daemon_has(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        config = with_security(shell("cat /proc/self/status"), capabilities=v1.Capability(add_capabilities=["ALL"]))
        have = mask(*(name.removeprefix("CAP_") for name in pod.host.capabilities))
        assert capability_fields(pod.output(config, rootfs))["CapEff"] == have

    in_pod(test)


def test_privileged(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        block = next(path for path in Path("/dev").iterdir() if stat.S_ISBLK(path.lstat().st_mode))
        script = f"""
            cat /proc/self/status /proc/self/mounts
            stat -c %t:%T {block}
            head -c 1 {block} > /dev/null && echo may read
            ls -l /dev/ptmx
        """
        config = with_security(
            shell(script),
            privileged=True,
            seccomp=v1.SecurityProfile(),
            masked_paths=["/proc/keys"],
            readonly_paths=["/proc/sys"],
        )
        text = pod.output(config, rootfs)
        status = status_fields(text)
        assert capability_fields(text)["CapBnd"] == mask(*(name.removeprefix("CAP_") for name in pod.host.capabilities))
        assert status["Seccomp"] == "0"
        options = {
            fields[1]: fields[3].split(",")[0] for fields in map(str.split, text.splitlines()) if len(fields) == 6
        }
        assert options["/sys"] == "rw"
        assert options["/sys/fs/cgroup" if pod.host.v2 else "/sys/fs/cgroup/memory"] == "rw"
        assert "/proc/keys" not in options
        assert "/proc/sys" not in options
        number = block.lstat().st_rdev
        assert f"\n{os.major(number):x}:{os.minor(number):x}\nmay read\n" in text
        assert "/dev/ptmx -> pts/ptmx" in text

    in_pod(test, config=secured_sandbox(privileged=True))


def test_a_device_that_was_not_given_cannot_be_opened(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        number = next(path.lstat().st_rdev for path in Path("/dev").iterdir() if stat.S_ISBLK(path.lstat().st_mode))
        script = f"mknod /tmp/disk b {os.major(number)} {os.minor(number)} && head -c 1 /tmp/disk"
        done = pod.run(pod.built(shell(script), rootfs).spec)
        assert "/tmp/disk: Operation not permitted" in done.stderr

    in_pod(test)


def test_restrictions(in_pod: InPod) -> None:
    def test(pod: Pod, rootfs: str) -> None:
        config = with_security(
            shell(
                """
                grep NoNewPrivs /proc/self/status
                touch /x || echo read-only root
                touch /etc/hosts || echo hosts too
                head -c 1 /proc/keys; ls /sys/firmware
                echo 1 > /proc/sys/kernel/panic || echo read-only sysctl
                echo y > /dev/shm/y && echo shm
                """
            ),
            no_new_privs=True,
            readonly_rootfs=True,
            masked_paths=["/proc/keys", "/sys/firmware", "/not/there"],
            readonly_paths=["/proc/sys", "/not/there"],
        )
        text = pod.output(config, rootfs)
        assert text == "NoNewPrivs:\t1\nread-only root\nhosts too\nread-only sysctl\nshm\n"

    in_pod(test)
