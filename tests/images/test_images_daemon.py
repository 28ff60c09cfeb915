"""Images through the socket: what kubelets and people see of them."""

import contextlib
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from podwright.client import Client
from podwright.client.control import Control
from podwright.cri import v1
from podwright.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PodwrightError,
    Unauthenticated,
    Unavailable,
)
from podwright.kernel import libc, mounts
from podwright.testing.cri_server import StubServer
from podwright.testing.images import Layer, artifact, directory, file, hardlink, image, item, layer, symlink
from podwright.testing.registry import FakeRegistry
from support.cri import Pods, secured, until
from support.node import Node, node

pytestmark = pytest.mark.root

APPLETS = ("sh", "cat", "ls", "stat", "touch", "sleep", "mkdir", "find", "head", "wc", "true", "grep")


def busybox() -> Layer:
    """A layer with a shell."""
    applets = [hardlink(f"bin/{name}", "bin/busybox") for name in APPLETS]
    passwd = file("etc/passwd", b"root:x:0:0::/:/bin/sh\nwww:x:33:33::/:/bin/sh\n")
    shell = file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    return layer(directory("bin"), shell, *applets, directory("etc"), passwd, directory("tmp", mode=0o1777))


BUSYBOX = busybox()
CONFIG = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
BUILT = image(BUSYBOX, config=CONFIG)
DATA = os.urandom(2_000_000)
BIG = image(BUSYBOX, layer(file("data", DATA), compression="none"), config=CONFIG)
BIG_BLOB = next(digest for digest, blob in BIG.blobs.items() if len(blob) > 1_900_000)


def listen_inside(place: Node) -> socket.socket:
    """A socket of the node's network, for a server outside of it."""

    def listen() -> socket.socket:
        fd = os.open(f"/proc/{place.holder}/ns/net", os.O_RDONLY)
        try:
            libc.setns(fd, libc.CLONE_NEWNET)
        finally:
            os.close(fd)
        return socket.create_server(("127.0.0.1", 0))

    return mounts.in_thread_of_its_own(listen)


class Place:
    """A node with a daemon, a registry in its network, and a client."""

    def __init__(self, made: Node, registry: FakeRegistry) -> None:
        self.node, self.registry = made, registry
        self.pods = Pods(made)
        self.cri = self.pods.cri

    def status(self, name: str) -> v1.Image | None:
        """The image, if it is there."""
        answer = self.cri.image_status(name)
        return answer.image if answer.HasField("image") else None

    def podwright(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the command line."""
        command = [sys.executable, "-m", "podwright", *arguments, "-r", f"unix://{self.node.socket}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="module")
def started() -> Iterator[Place]:
    with node() as made, FakeRegistry(listener=listen_inside(made)) as registry:
        made.write_config(
            f"""
[images]
store = "{made.directory}/store"
registry_dirs = ["{made.directory}/certs.d"]
credential_files = []
pinned = ["*/infra/*"]
stall_seconds = 30

[images.credentials."{registry.host}"]
username = "user"
password = "pass"
"""
        )
        made.start()
        place = Place(made, registry)
        yield place
        place.pods.close()


@pytest.fixture
def place(started: Place) -> Iterator[Place]:
    yield started
    started.registry.behave()
    started.registry.require_nothing()
    started.pods.remove_all()
    for found in started.cri.list_images().images:
        started.cri.remove_image(found.id)
    assert not started.cri.list_images().images


# ---- the RPCs


def test_one_id_everywhere(place: Place) -> None:
    name = place.registry.push("app", "1", BUILT)
    image_id = place.cri.pull_image(name).image_ref
    assert image_id == BUILT.id
    (listed,) = place.cri.list_images().images
    found = place.status(name)
    assert found == listed
    assert (found.id, list(found.repo_tags)) == (image_id, [name])
    assert found.repo_digests == [f"{place.registry.host}/app@{BUILT.digest}"]
    sandbox = place.pods.run_sandbox()
    config = place.pods.container_config("sleep 1000", image=v1.ImageSpec(image=image_id, user_specified_image=name))
    container = place.pods.start(sandbox, config)
    status = place.pods.status(container)
    assert (status.image_id, status.image_ref) == (image_id, f"{place.registry.host}/app@{BUILT.digest}")
    (in_list,) = place.cri.list_containers().containers
    assert {in_list.image_ref, in_list.image_id} == {image_id}
    with pytest.raises(FailedPrecondition, match="in use"):
        place.cri.remove_image(name)
    assert [one.id for one in place.cri.list_images(v1.ImageFilter(image=v1.ImageSpec(image=name))).images] == [
        image_id
    ]
    assert not place.cri.list_images(v1.ImageFilter(image=v1.ImageSpec(image="other"))).images


def listed_as(place: Place, name: str) -> Sequence[v1.Image]:
    return place.cri.list_images(v1.ImageFilter(image=v1.ImageSpec(image=name))).images


def test_an_image_that_is_not_there_is_no_failure_but_a_name_that_is_none_is(place: Place) -> None:
    assert place.status("nothing:1") is None
    place.cri.remove_image("nothing:1")
    for call in (place.cri.image_status, place.cri.remove_image, place.cri.pull_image):
        for name in ("", "UPPER"):
            with pytest.raises(InvalidArgument):
                call(name)


def test_a_pull_for_a_handler_that_is_none_is_refused(place: Place) -> None:
    name = place.registry.push("app", "1", BUILT)
    with pytest.raises(InvalidArgument, match="runtime_handler"):
        place.cri.pull_image(v1.ImageSpec(image=name, runtime_handler="nothing"))
    assert place.cri.pull_image(v1.ImageSpec(image=name, runtime_handler="crun")).image_ref == BUILT.id


@pytest.mark.parametrize(("user", "uid", "name"), [
    ("", None, ""), ("0", 0, ""), ("1000:50", 1000, ""), ("www", None, "www"), ("www:www", None, "www"),
    ("9" * 30, None, "9" * 30), ("9" * 5000, None, "9" * 5000),
])  # fmt: skip
def test_the_user_of_an_image_is_a_number_or_a_name(place: Place, user: str, uid: int | None, name: str) -> None:
    reference = place.registry.push("user", "1", image(BUSYBOX, config={**CONFIG, "User": user}))
    place.cri.pull_image(reference)
    found = place.status(reference)
    assert found is not None
    assert found.username == name
    assert len(place.cri.list_images().images) >= 1
    if uid is not None:
        assert found.uid.value == uid


def test_pins_and_credentials_of_the_configuration(place: Place) -> None:
    place.registry.require_basic({"user": "pass"})
    name = place.registry.push("infra/pause", "1", BUILT)
    place.cri.pull_image(name)
    found = place.status(name)
    assert found is not None
    assert found.pinned


def test_credentials_of_a_request_are_checked_each_time(place: Place) -> None:
    place.registry.require_basic({"other": "secret"})
    name = place.registry.push("app", "1", BUILT)
    place.cri.pull_image(name, auth=v1.AuthConfig(username="other", password="secret"))
    with pytest.raises(Unauthenticated):
        place.cri.pull_image(name)
    with pytest.raises(Unauthenticated):
        place.cri.pull_image(name, auth=v1.AuthConfig(username="other", password="no"))


@pytest.mark.parametrize(("fault", "kind", "words"), [
    ({"status": 500}, Unavailable, "RegistryUnavailable: "),
    ({"status": 404}, NotFound, "cannot pull "),
    ({"status": 403}, PermissionDenied, "cannot pull "),
    ({"body": b"[]"}, InvalidArgument, "the document"),
])  # fmt: skip
def test_failures_have_their_codes_and_words(
    place: Place, fault: dict[str, Any], kind: type[PodwrightError], words: str
) -> None:
    name = place.registry.push("app", "1", BUILT)
    place.registry.fault("/manifests/", **fault)
    with pytest.raises(kind) as caught:
        place.cri.pull_image(name)
    assert str(caught.value).startswith(words)
    assert name in str(caught.value)


def test_a_deadline_ends_the_pull(place: Place) -> None:
    name = place.registry.push("app", "1", BIG)
    place.registry.fault(f"/blobs/{BIG_BLOB}", stall=1_000_000)
    with pytest.raises(DeadlineExceeded):
        place.cri.pull_image(name, deadline=1.0)
    with Control(place.cri.endpoints["ImageService"]) as control:
        until(lambda: [answer.pulls for answer in control.watch_pulls()][-1], lambda pulls: not pulls)
    until(lambda: os.listdir(place.node.directory / "store/staging"), lambda names: not names)


def test_a_killed_daemon_goes_on_from_the_bytes_it_has(place: Place) -> None:
    name = place.registry.push("app", "1", BIG)
    place.registry.fault(f"/blobs/{BIG_BLOB}", stall=1_500_000, times=1)
    failures: list[PodwrightError] = []

    def pull() -> None:
        try:
            place.cri.pull_image(name)
        except PodwrightError as error:
            failures.append(error)

    thread = threading.Thread(target=pull)
    thread.start()
    with Control(place.cri.endpoints["ImageService"]) as control:
        until(lambda: downloaded(control), lambda done: done > 1_000_000)
    place.node.kill()
    thread.join()
    assert failures
    place.node.start()
    assert place.cri.pull_image(name).image_ref == BIG.id
    *_, last = (one for one in place.registry.requests if BIG_BLOB in one.path)
    assert int(last.headers["range"].removeprefix("bytes=").split("-")[0]) > 900_000
    sandbox = place.pods.run_sandbox()
    _, output = place.pods.run(sandbox, place.pods.container_config("wc -c < /data", image=v1.ImageSpec(image=name)))
    assert int(output) == len(DATA)


@pytest.mark.parametrize("stage", [
    *("image.resolve", "image.fetch", "after:image.fetch", "after:image.pull", "image.sync", "after:image.sync"),
    *("image.remove", "after:image.remove"),
])  # fmt: skip
def test_a_daemon_that_is_killed_at_any_stage_has_an_image_or_none(stage: str) -> None:
    with node() as made, FakeRegistry(listener=listen_inside(made)) as registry:
        name = registry.push("app", "1", BIG)
        made.environment["PODWRIGHT_FAILPOINT"] = f"kill@{stage}"
        made.start()
        with Client(f"unix://{made.socket}") as cri, contextlib.suppress(PodwrightError):
            cri.pull_image(name)
            if "remove" in stage:
                cri.remove_image(name)
        made.wait()
        made.environment.clear()
        made.start()
        store = made.root / "images"
        assert os.listdir(store / "staging") == []
        with Client(f"unix://{made.socket}") as cri:
            known = cri.list_images().images
            assert [image.id for image in known] in ([], [BIG.id])
            sent = registry.bytes_sent
            assert cri.pull_image(name).image_ref == BIG.id
            if known:
                assert registry.bytes_sent == sent
            (usage,) = cri.image_fs_info().image_filesystems
            told = subprocess.run(["du", "-s", "--block-size=1", store], capture_output=True, check=True).stdout
            assert usage.used_bytes.value == int(told.split()[0])
            cri.remove_image(name)
            assert os.listdir(store / "layers") == ["0"]


def downloaded(control: Control) -> int:
    for answer in control.watch_pulls():
        return sum(one.bytes_done for pull in answer.pulls for one in pull.layers if one.digest == BIG_BLOB)
    return 0


def test_what_images_take_is_told_at_once(place: Place) -> None:
    name = place.registry.push("app", "1", BIG)
    (before,) = place.cri.image_fs_info().image_filesystems
    place.cri.pull_image(name)
    (after,) = place.cri.image_fs_info().image_filesystems
    assert after.fs_id.mountpoint == f"{place.node.directory}/store"
    assert after.used_bytes.value - before.used_bytes.value >= len(DATA)
    assert after.inodes_used.value > before.inodes_used.value
    place.cri.remove_image(name)
    assert place.cri.image_fs_info().image_filesystems[0].used_bytes == before.used_bytes


def test_what_containers_have_written_is_told(place: Place) -> None:
    """Both lie on one file system here, so both have one mount point: kubelets would else see two disks."""
    name = place.registry.push("app", "1", BUILT)
    place.cri.pull_image(name)
    (before,) = place.cri.image_fs_info().container_filesystems
    assert before.fs_id.mountpoint == f"{place.node.directory}/store"
    sandbox = place.pods.run_sandbox()
    script = "head -c 3000000 /dev/zero > /written"
    assert place.pods.run(sandbox, place.pods.container_config(script, image=v1.ImageSpec(image=name))) == (0, "")
    (after,) = place.cri.image_fs_info().container_filesystems
    assert 3_000_000 <= after.used_bytes.value - before.used_bytes.value < 3_100_000
    assert after.inodes_used.value > before.inodes_used.value
    place.pods.remove_all()
    assert place.cri.image_fs_info().container_filesystems[0].used_bytes == before.used_bytes


# ---- containers of images


def test_the_root_directory_looks_as_in_the_image(place: Place) -> None:
    built = image(BUSYBOX, layer(directory("./", mode=0o751, uid=7, gid=8)), config=CONFIG)
    name = place.registry.push("root", "1", built)
    place.cri.pull_image(name)
    sandbox = place.pods.run_sandbox()
    config = place.pods.container_config("stat -c '%a %u %g' /", image=v1.ImageSpec(image=name))
    assert place.pods.run(sandbox, config) == (0, "751 7 8\n")


def test_volumes_of_the_image_begin_as_copies_and_leave_the_layer_alone(place: Place) -> None:
    content = layer(
        directory("data", mode=0o2770, uid=33, gid=33),
        file("data/kept", b"k", mode=0o640, uid=33, gid=34),
        directory("data/sub"),
        symlink("data/link", "kept"),
        symlink("escape", "/proc/1"),
    )
    volumes: dict[str, Any] = {"/data": {}, "/new/deep": {}, "/mounted": {}}
    built = image(BUSYBOX, content, config={**CONFIG, "Volumes": volumes})
    name = place.registry.push("volumes", "1", built)
    place.cri.pull_image(name)
    host = place.node.directory / "host"
    host.mkdir(exist_ok=True)
    sandbox = place.pods.run_sandbox()
    script = """
        stat -c '%a %u %g' /data /data/kept
        ls /data
        touch /data/written /new/deep/written && ls /new/deep
        grep -c ' /data \\| /new/deep ' /proc/self/mountinfo
        touch /readonly 2>&1 | head -c 0
    """
    config = place.pods.container_config(
        script,
        image=v1.ImageSpec(image=name),
        mounts=[v1.Mount(container_path="/mounted", host_path=str(host))],
        linux=secured(readonly_rootfs=True),
    )
    container = place.pods.start(sandbox, config)
    assert place.pods.exited(container).exit_code == 0
    lines = place.pods.output(container).splitlines()
    assert lines == ["2770 33 33", "640 33 34", "kept", "link", "sub", "written", "2"]
    own = place.node.root / "containers" / container
    assert {path.name for path in (own / "volumes").rglob("*")} >= {"kept", "written"}
    assert not list((own / "upper").rglob("written"))
    assert not (host / "kept").exists()
    place.cri.remove_container(container)
    assert not own.exists()


# ---- image volumes


def mount(name: str, **fields: Any) -> v1.Mount:
    return v1.Mount(**{"container_path": "/volume", "image": v1.ImageSpec(image=name), "readonly": True, **fields})


CONTENT = image(
    layer(directory("top"), file("top/file", b"below"), file("run.sh", b"#!/bin/sh\necho it runs\n", mode=0o755)),
    layer(directory("top"), file("top/file", b"above", uid=7), symlink("out", "/etc"), symlink("in", "top")),
)


def with_volume(place: Place, script: str, mounted: v1.Mount) -> v1.ContainerConfig:
    place.cri.pull_image(place.registry.push("app", "1", BUILT))
    return place.pods.container_config(
        script, image=v1.ImageSpec(image=f"{place.registry.host}/app:1"), mounts=[mounted]
    )


def test_an_image_is_mounted_as_a_volume(place: Place) -> None:
    name = place.registry.push("content", "1", CONTENT)
    image_id = place.cri.pull_image(name).image_ref
    sandbox = place.pods.run_sandbox()
    script = """
        cat /volume/top/file; stat -c %u /volume/top/file
        touch /volume/x || echo read-only
        /volume/run.sh; sleep 1000
    """
    container = place.pods.start(sandbox, with_volume(place, script, mount(image_id)))
    place.pods.says(container, "it runs")
    assert place.pods.output(container).replace("touch: /volume/x: Read-only file system\n", "") == (
        "above7\nread-only\nit runs\n"
    )
    (shown,) = place.pods.status(container).mounts
    assert (shown.image.image, shown.image.image_ref, shown.host_path) == (image_id, image_id, "")
    with pytest.raises(FailedPrecondition, match="in use"):
        place.cri.remove_image(name)
    inside = [point for point in place.node.mounts() if "image-0" in point]
    assert len(inside) == 1
    place.cri.stop_container(container, timeout=0)
    until(place.node.mounts, lambda points: not any("image-0" in point for point in points))
    place.cri.remove_container(container)
    place.cri.remove_image(name)


def test_a_part_of_an_image_is_mounted(place: Place) -> None:
    name = place.registry.push("content", "1", CONTENT)
    place.cri.pull_image(name)
    sandbox = place.pods.run_sandbox()
    for path in ("top", "in", "./top/"):
        config = with_volume(place, "ls /volume", mount(name, image_sub_path=path))
        assert place.pods.run(sandbox, config) == (0, "file\n")


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_images_of_any_number_of_layers_are_mounted(place: Place, layers: int) -> None:
    built = image(*(layer(file(str(number))) for number in range(layers)))
    name = place.registry.push("layers", str(layers), built)
    place.cri.pull_image(name)
    sandbox = place.pods.run_sandbox()
    _, output = place.pods.run(sandbox, with_volume(place, "ls /volume", mount(name)))
    assert output.split() == [str(number) for number in range(layers)]


def test_an_artifact_is_mounted_and_is_no_image(place: Place) -> None:
    name = place.registry.push("model", "1", artifact(item("sub/weights", DATA)))
    place.cri.pull_image(name)
    sandbox = place.pods.run_sandbox()
    for fields, path in (({}, "sub/weights"), ({"image_sub_path": "sub"}, "weights")):
        config = with_volume(place, f"find /volume -type f; wc -c < /volume/{path}", mount(name, **fields))
        assert place.pods.run(sandbox, config) == (0, f"/volume/{path}\n{len(DATA)}\n")
    with pytest.raises(FailedPrecondition, match="artifact"):
        place.pods.create(sandbox, place.pods.container_config(image=v1.ImageSpec(image=name)))


@pytest.mark.parametrize(("fields", "kind", "words"), [
    ({"readonly": False}, InvalidArgument, "readonly"),
    ({"host_path": "/tmp"}, InvalidArgument, "host_path"),
    ({"propagation": v1.PROPAGATION_HOST_TO_CONTAINER}, InvalidArgument, "propagation"),
    ({"image_sub_path": "nothing"}, InvalidArgument, "image_sub_path"),
    ({"image_sub_path": "top/file"}, InvalidArgument, "image_sub_path"),
    ({"image_sub_path": "out/passwd"}, InvalidArgument, "image_sub_path"),
    ({"image_sub_path": "../.."}, InvalidArgument, "image_sub_path"),
    ({"image_sub_path": "/top"}, InvalidArgument, "image_sub_path"),
    ({"image": v1.ImageSpec(image="nothing:1")}, NotFound, "pull it first"),
])  # fmt: skip
def test_an_image_volume_that_cannot_be_is_refused(
    place: Place, fields: dict[str, Any], kind: type[PodwrightError], words: str
) -> None:
    name = place.registry.push("content", "1", CONTENT)
    place.cri.pull_image(name)
    sandbox = place.pods.run_sandbox()
    before = place.node.mounts()
    with pytest.raises(kind, match=words) as caught:
        place.pods.create(sandbox, with_volume(place, "true", mount(name, **fields)))
    assert str(caught.value).startswith("ImageVolumeMountFailed: ")
    assert place.node.mounts() == before
    place.cri.remove_image(name)


# ---- people


def test_people_pull_load_and_save(place: Place, tmp_path: Path) -> None:
    name = place.registry.push("app", "1", BUILT)
    done = place.podwright("pull", name)
    assert (done.returncode, done.stdout) == (0, f"{BUILT.id}\n"), done.stderr
    assert "pulled" in done.stderr
    target = place.node.directory / f"saved-{time.monotonic_ns()}"
    done = place.podwright("save", name, str(target))
    assert (done.returncode, done.stdout) == (0, f"{target}\n"), done.stderr
    place.cri.remove_image(name)
    done = place.podwright("load", str(target))
    assert done.returncode == 0, done.stderr
    found = place.status(name)
    assert found is not None
    assert done.stdout == f"{found.id}\n"
    assert place.podwright("load", "/nothing").returncode == 3
    assert place.podwright("load", str(target), "--config", "/nothing").returncode == 2
    rootfs = place.node.directory / f"rootfs-{time.monotonic_ns()}"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/sh")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"config": {"Cmd": ["sh"]}}))
    assert place.podwright("load", str(rootfs), "--name", "mine", "--config", str(config)).returncode == 0
    assert place.status("docker.io/library/mine:latest") is not None


def test_people_see_a_bar_for_each_layer(place: Place) -> None:
    name = place.registry.push("app", "1", BIG)
    place.registry.fault(f"/blobs/{BIG_BLOB}", rate=2_000_000)
    command = [sys.executable, "-m", "podwright", "pull", name, "-r", f"unix://{place.node.socket}"]
    primary, secondary = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=secondary, env=environment) as done:
        os.close(secondary)
        seen = b""
        while piece := read(primary):
            seen += piece
        os.close(primary)
        assert done.stdout is not None
        assert done.stdout.read().decode() == f"{BIG.id}\n"
    assert done.returncode == 0
    for digest in BIG.blobs:
        if digest != BIG.id:
            assert digest.removeprefix("sha256:")[:12].encode() in seen
    assert b"downloading" in seen
    assert b"done" in seen


def read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:  # Linux's way to say that the other side is closed
        return b""


def test_another_runtime_is_pulled_with_too(tmp_path: Path) -> None:
    with StubServer(str(tmp_path / "cri.sock")) as server:
        command = [sys.executable, "-m", "podwright", "pull", "busybox:1", "-r", server.endpoint]
        primary, secondary = pty.openpty()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=secondary, check=False, timeout=60)
        os.close(secondary)
        os.close(primary)
        assert done.returncode == 0
        assert done.stdout.startswith(b"sha256:")
        loaded = subprocess.run(
            [sys.executable, "-m", "podwright", "load", "/x", "-r", server.endpoint],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert loaded.returncode == 1
        assert "is not Podwright" in loaded.stderr
        server.runtime.close()


def test_pulls_are_watched_by_any_name_of_theirs(place: Place) -> None:
    name = place.registry.push("app", "latest", BIG)
    place.registry.fault(f"/blobs/{BIG_BLOB}", stall=1_000_000, times=1)
    thread = threading.Thread(target=lambda: place.cri.pull_image(name))
    thread.start()
    with Control(place.cri.endpoints["ImageService"]) as control:
        until(
            lambda: next(iter(control.watch_pulls(name.removesuffix(":latest")))).pulls, lambda pulls: len(pulls) == 1
        )
        until(lambda: downloaded(control), lambda done: done >= 300_000)
        (pull,) = next(iter(control.watch_pulls())).pulls
        assert (pull.image, pull.stage) == (name, "fetching")
        (big,) = (one for one in pull.layers if one.digest == BIG_BLOB)
        assert big.state in {"downloading", "unpacking"}
        assert big.bytes_total == len(BIG.blobs[BIG_BLOB])
        place.registry.go_on()
        assert list(control.watch_pulls(name))[-1].pulls == []
    thread.join()
    with pytest.raises(InvalidArgument), Control(place.cri.endpoints["ImageService"]) as control:
        next(iter(control.watch_pulls("UPPER")))
