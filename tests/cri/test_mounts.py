"""Volumes: what of the host is seen in containers, and which later mounts get through."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from support.cri import Pods, secured
from support.node import node

pytestmark = pytest.mark.root


@pytest.fixture(params=["crun", "runc"])
def sandbox(pods: Pods, request: pytest.FixtureRequest) -> str:
    return pods.run_sandbox(handler=request.param)


@pytest.fixture
def volume(pods: Pods) -> Iterator[Path]:
    """A directory of the node on a mount of its own, a shared one, as seen from the node."""
    path = pods.node.directory / "volume"
    path.mkdir()
    pods.node.run("mount", "-t", "tmpfs", "volume", str(path))
    yield Path(f"/proc/{pods.node.holder}/root{path}")
    pods.remove_all()
    pods.node.run("umount", "--recursive", str(path))
    path.rmdir()


def path_of(volume: Path) -> str:
    return "/" + str(volume).split("/root/", 1)[1]


def mounted(pods: Pods, script: str = "sleep 1000", *wanted: v1.Mount, **fields: Any) -> v1.ContainerConfig:
    return pods.container_config(script, mounts=list(wanted), **fields)


def test_files_and_directories(pods: Pods, sandbox: str, volume: Path) -> None:
    source = path_of(volume)
    (volume / "file").write_text("content\n")
    (volume / "directory").mkdir()
    (volume / "link").symlink_to("directory")
    wanted = [
        v1.Mount(container_path="/etc/one-file", host_path=f"{source}/file"),
        v1.Mount(container_path="/a/b/c", host_path=f"{source}/directory"),
        v1.Mount(container_path="/by-link", host_path=f"{source}/link"),
        v1.Mount(container_path="/ro", host_path=f"{source}/directory", readonly=True),
        v1.Mount(container_path="/etc/hosts", host_path=f"{source}/file"),
    ]
    container_id = pods.start(sandbox, mounted(pods, "sleep 1000", *wanted))
    assert pods.exec(container_id, "cat /etc/one-file /etc/hosts; echo x > /a/b/c/new; cat /by-link/new /ro/new") == (
        "content\ncontent\nx\nx\n"
    )
    assert pods.exec(container_id, "touch /ro/y 2>&1; echo $?").endswith("Read-only file system\n1\n")
    assert (volume / "directory/new").read_text() == "x\n"
    assert list(pods.status(container_id).mounts) == wanted


def test_one_mount_inside_another_whatever_their_order(pods: Pods, sandbox: str, volume: Path) -> None:
    source = path_of(volume)
    for name in ("outer", "inner"):
        (volume / name).mkdir()
        (volume / name / name).touch()
    (volume / "outer/below").mkdir()
    wanted = [
        v1.Mount(container_path="/v/below", host_path=f"{source}/inner"),
        v1.Mount(container_path="/v", host_path=f"{source}/outer"),
    ]
    assert pods.run(sandbox, mounted(pods, "ls /v /v/below", *wanted)) == (
        0,
        "/v:\nbelow\nouter\n\n/v/below:\ninner\n",
    )


@pytest.mark.parametrize(
    ("propagation", "inwards", "outwards"),
    [
        (v1.PROPAGATION_PRIVATE, False, False),
        (v1.PROPAGATION_HOST_TO_CONTAINER, True, False),
        (v1.PROPAGATION_BIDIRECTIONAL, True, True),
    ],
)
def test_propagation(
    pods: Pods, sandbox: str, volume: Path, propagation: v1.MountPropagation, *, inwards: bool, outwards: bool
) -> None:
    source = path_of(volume)
    for name in ("early", "late", "out"):
        (volume / name).mkdir()
    pods.node.run("mount", "-t", "tmpfs", "early", f"{source}/early")
    (volume / "early/there").touch()
    mount = v1.Mount(container_path="/v", host_path=source, propagation=propagation)
    linux = secured(capabilities=v1.Capability(add_capabilities=["SYS_ADMIN"]))
    container_id = pods.start(sandbox, mounted(pods, "sleep 1000", mount, linux=linux))
    assert pods.exec(container_id, "ls /v/early") == "there\n", "what is mounted below a volume is in it"

    pods.node.run("mount", "-t", "tmpfs", "late", f"{source}/late")
    (volume / "late/there").touch()
    assert pods.exec(container_id, "ls /v/late") == ("there\n" if inwards else "")

    pods.exec(container_id, "mount -t tmpfs out /v/out && touch /v/out/there")
    assert os.path.exists(volume / "out/there") == outwards
    if outwards:
        pods.exec(container_id, "umount /v/out")
        assert not os.path.exists(volume / "out/there")


def test_propagation_that_the_host_s_mount_does_not_allow(pods: Pods, sandbox: str, volume: Path) -> None:
    source = path_of(volume)
    (volume / "private").mkdir()
    pods.node.run("mount", "-t", "tmpfs", "private", f"{source}/private")
    # In the daemon's own mount namespace, which looks; the node's is another where crun needs one.
    pods.node.run("nsenter", "-t", str(_inside(pods)), "-m", "mount", "--make-private", f"{source}/private")
    for propagation in (v1.PROPAGATION_BIDIRECTIONAL, v1.PROPAGATION_HOST_TO_CONTAINER):
        mount = v1.Mount(container_path="/v", host_path=f"{source}/private", propagation=propagation)
        with pytest.raises(InvalidArgument, match=r"mounts\[0\]\.propagation: .*shared"):
            pods.create(sandbox, mounted(pods, "true", mount))
    pods.node.run("nsenter", "-t", str(_inside(pods)), "-m", "umount", f"{source}/private")


def _inside(pods: Pods) -> int:
    """The daemon's process number on the node."""
    for line in pods.node.run("ps", "-eo", "pid=,args=").splitlines():
        pid, args = line.split(maxsplit=1)
        if "podwright serve" in args:
            return int(pid)
    raise AssertionError("there is no daemon")


def test_recursive_read_only(pods: Pods, volume: Path) -> None:
    source = path_of(volume)
    (volume / "below").mkdir()
    pods.node.run("mount", "-t", "tmpfs", "below", f"{source}/below")
    mount = v1.Mount(container_path="/v", host_path=source, readonly=True, recursive_read_only=True)
    for handler in pods.cri.status().runtime_handlers:
        sandbox_id = pods.run_sandbox(handler=handler.name)
        config = mounted(pods, "touch /v/x; touch /v/below/x", mount)
        if handler.features.recursive_read_only_mounts:
            assert pods.run(sandbox_id, config)[1].count("Read-only file system") == 2
        else:
            with pytest.raises(FailedPrecondition, match=r"^RROUnsupported: mounts\[0\]"):
                pods.create(sandbox_id, config)


def test_what_may_not_be_done_on_a_volume(pods: Pods, sandbox: str, volume: Path) -> None:
    mount = v1.Mount(container_path="/v", host_path=path_of(volume), mount_options=["noexec"])
    script = "cp /bin/busybox /v/b; /v/b true"
    code, output = pods.run(sandbox, mounted(pods, script, mount))
    assert code == 126
    assert "Permission denied" in output
    assert pods.cri.status().features.mount_options, "kubelets ask for it only where it is said"


def test_host_paths_are_made_where_that_is_wanted() -> None:
    """containerd and CRI-O do it, and some network add-ons rely on it. test_bad_input.py has the default."""
    with node() as made:
        made.write_config("[runtime]\ncreate_host_paths = true\n")
        made.start()
        pods = Pods(made)
        pods.load_image()
        sandbox = pods.run_sandbox()
        new, file = made.directory / "var/lib/addon", made.directory / "file"
        file.touch()
        container = pods.start(
            sandbox, mounted(pods, "sleep 1000", v1.Mount(container_path="/addon", host_path=str(new)))
        )
        pods.exec(container, "touch /addon/state")
        pods.cri.remove_container(container)
        assert (new / "state").exists(), "what a pod has there stays"
        with pytest.raises(InvalidArgument, match=r'mounts\[0\]\.host_path: ".*/file/below": Not a directory'):
            pods.create(sandbox, mounted(pods, "true", v1.Mount(container_path="/addon", host_path=f"{file}/below")))
        pods.close()


@pytest.mark.parametrize("readonly", [False, True])
def test_volumes_of_the_image(pods: Pods, sandbox: str, *, readonly: bool) -> None:
    pods.load_image("test.local/volume:1", Volumes={"/home/alice": {}, "/new/volume": {}})
    config = pods.container_config(
        "touch /home/alice/x /new/volume/y && stat -c %u:%g /home/alice; touch /z",
        image=v1.ImageSpec(image="test.local/volume:1"),
        linux=secured(readonly_rootfs=readonly),
    )
    code, output = pods.run(sandbox, config)
    assert output.startswith("1000:1001\n"), "it begins as a copy of what the image has there"
    assert code == int(readonly)
    other = pods.start(sandbox, pods.container_config(image=v1.ImageSpec(image="test.local/volume:1")))
    assert pods.exec(other, "ls /home/alice /new/volume") == "/home/alice:\n\n/new/volume:\n"


def test_what_a_container_writes_is_its_own(pods: Pods, sandbox: str) -> None:
    one, two = pods.start(sandbox), pods.start(sandbox)
    pods.exec(one, "echo changed > /etc/passwd; rm /etc/group; mkdir /new")
    assert pods.exec(two, "head -n 1 /etc/passwd; ls -d /etc/group /new 2>/dev/null || true") == (
        "root:x:0:0:root:/root:/bin/sh\n/etc/group\n"
    )
