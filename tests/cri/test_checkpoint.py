"""CheckpointContainer, CheckpointPod and RestorePod.

criu has to work on the machine for most of it: it does on cgroup v2 with Debian's kernel (tests/vm/test_checkpoint.py
runs this file there). $PODWRIGHT_CRIU may name a directory with a criu for this machine's kernel.
"""

import concurrent.futures
import contextlib
import functools
import json
import os
import queue
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podwright.cri import v1
from podwright.errors import DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound, PodwrightError
from support.cri import IMAGE, Pods, secured, until
from support.leaks import Snapshot, leaks, snapshot
from support.node import Node, node

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

CRIU = os.environ.get("PODWRIGHT_CRIU", "")
LAYOUT = {"checkpoint", "config.dump", "spec.dump", "status.dump", "rootfs-diff.tar", "deleted.files", "container.log"}


@functools.cache
def criu_works() -> bool:
    """Whether criu is there and likes this kernel."""
    program = shutil.which("criu", path=f"{CRIU}:{os.environ['PATH']}" if CRIU else None)
    return program is not None and subprocess.run([program, "check"], capture_output=True, check=False).returncode == 0


needs_criu = pytest.mark.skipif("not criu_works()", reason="no criu for this kernel")


@pytest.fixture(scope="module")
def made() -> Iterator[tuple[Pods, Snapshot]]:
    """A node whose pods are run by runc, with criu where there is one."""
    with node() as machine:
        machine.write_config('[runtime]\ndefault_handler = "runc"')
        if CRIU:
            machine.run("mount", "--bind", CRIU, "/usr/local/sbin")
        machine.start()
        pods = Pods(machine)
        pods.load_image()
        pods.run_sandbox(pods.networked_config())
        pods.remove_all()
        yield pods, snapshot(machine)
        pods.close()


@pytest.fixture
def pods(made: tuple[Pods, Snapshot]) -> Iterator[Pods]:
    """The node's client; nothing is left behind."""
    pods, before = made
    yield pods
    if not pods.node.running:
        pods.node.environment.clear()
        pods.node.start()
    pods.remove_all()
    assert leaks(pods.node, before) == {}


@pytest.fixture
def directory(pods: Pods, request: pytest.FixtureRequest) -> Path:
    """An empty directory for a checkpoint; the daemon sees it."""
    path = pods.node.directory / str(request.node.name)
    path.mkdir()
    return path


def config_of_pod(pods: Pods, name: str, pid: v1.NamespaceMode = v1.CONTAINER) -> v1.PodSandboxConfig:
    """A pod with a network, and processes that are its containers' own, or shared."""
    config = pods.networked_config(name)
    config.linux.security_context.namespace_options.pid = pid
    return config


def counter(pods: Pods, name: str, script: str = "", **fields: Any) -> v1.ContainerConfig:
    """A container that counts, in its log, in a file, and in memory."""
    loop = f"{script}\ni=0; while :; do i=$((i+1)); echo $i >/count; echo {name} $i; sleep 0.05; done"
    return pods.container_config(loop, name=name, **{"linux": secured(), **fields})


def counts(pods: Pods, container: str) -> list[int]:
    """All that a counter has written."""
    return [int(line.split()[1]) for line in pods.output(container).splitlines()]


def goes_on(pods: Pods, container: str, after: int | None = None) -> int:
    """Waits until a counter has counted on; returns the first of the new counts."""
    before = after if after is not None else counts(pods, container)[-1]
    later = until(lambda: counts(pods, container), lambda found: bool(found) and found[-1] > before + 3, seconds=60)
    return next(count for count in later if count > before)


def hears_itself(pods: Pods, container: str) -> None:
    """The pod's network is not locked, as it is while criu writes a container."""
    assert "1 packets received" in pods.exec(container, "ping -c 1 -W 10 127.0.0.1", timeout=60)


def start_counters(pods: Pods, sandbox: str, *configs: v1.ContainerConfig) -> dict[str, str]:
    """Starts them and waits until they count; their ids by name."""
    ids = {config.metadata.name: pods.start(sandbox, config) for config in configs}
    for container in ids.values():
        until(functools.partial(counts, pods, container), lambda found: len(found) > 2, seconds=240)
    return ids


def checkpoint(pods: Pods, sandbox: str, containers: list[str], directory: Path, **fields: Any) -> None:
    """CheckpointPod."""
    pods.cri.checkpoint_pod(sandbox, str(directory), container_ids=containers, deadline=300, **fields)


def restore(
    pods: Pods, directory: Path, config: v1.PodSandboxConfig, *configs: v1.ContainerConfig, **fields: Any
) -> tuple[str, dict[str, str]]:
    """RestorePod; returns the sandbox and the containers' ids by name."""
    answer = pods.cri.restore_pod(str(directory), config, container_configs=list(configs), deadline=300, **fields)
    return answer.pod_sandbox_id, {made.name: made.container_id for made in answer.restored_containers}


# ---- without criu


def hide_criu(machine: Node) -> None:
    """Takes criu away from a node that has it."""
    for directory in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]:
        if os.path.exists(f"{directory}/criu"):
            machine.run("mount", "--bind", "/dev/null", f"{directory}/criu")


@pytest.mark.parametrize(("handler", "words"), [("runc", "criu, which is not installed"), ("crun", "without criu")])
def test_a_host_that_cannot_says_why(handler: str, words: str) -> None:
    with node() as machine:
        machine.write_config(f'[runtime]\ndefault_handler = "{handler}"')
        hide_criu(machine)
        machine.start()
        pods = Pods(machine)
        pods.load_image()
        sandbox = pods.run_sandbox()
        container = pods.start(sandbox)
        directory = machine.directory / "checkpoint"
        directory.mkdir()
        with pytest.raises(FailedPrecondition, match=words):
            pods.cri.checkpoint_container(container, str(directory / "archive.tar"))
        with pytest.raises(FailedPrecondition, match=words):
            checkpoint(pods, sandbox, [container], directory)
        with pytest.raises(FailedPrecondition, match=words):
            restore(pods, directory, pods.sandbox_config(), pods.container_config())
        assert os.listdir(directory) == []
        assert pods.exec(container, "echo alive") == "alive\n"
        pods.close()


FAKE_RUNC = """#!/bin/sh
# runc, whose checkpoint writes nothing: it says that it has begun, and waits until it may end or the container dies.
case " $* " in *" checkpoint "*) ;; *) exec runc "$@";; esac
for container; do :; done
mkdir {place}/running 2>/dev/null || touch {place}/two-at-once
touch {place}/$container
process=$(cat {state}/containers/$container/pid)
until [ -e {place}/go-on ]; do kill -0 $process || exit 1; sleep 0.02; done
rmdir {place}/running
"""


@contextlib.contextmanager
def fake_criu() -> Iterator[tuple[Pods, Path]]:
    """A node whose OCI runtime only seems to checkpoint, and the directory where it says what it does."""
    with node() as machine:
        place = machine.directory / "fake"
        (place / "bin").mkdir(parents=True)
        for name, text in (("runc", FAKE_RUNC.format(place=place, state=machine.state)), ("bin/criu", "#!/bin/sh\n")):
            (place / name).write_text(text)
            (place / name).chmod(0o755)
        machine.run("mount", "--bind", str(place / "bin"), "/usr/local/sbin")
        machine.write_config(f'[runtime.handlers.runc]\nprogram = "{place}/runc"')
        machine.start()
        pods = Pods(machine)
        pods.load_image()
        yield pods, place
        pods.remove_all()
        pods.close()


def test_criu_works_for_one_container_of_a_pod_at_a_time() -> None:
    """Each locks the network that they share, by rules of the same name: two would not find the way out again."""
    with fake_criu() as (pods, place):
        sandbox = pods.run_sandbox()
        one, two = pods.start(sandbox), pods.start(sandbox)
        directory = pods.node.directory / "checkpoint"
        directory.mkdir()
        (place / "go-on").touch()
        checkpoint(pods, sandbox, [one, two], directory)
        (place / "go-on").unlink()
        with concurrent.futures.ThreadPoolExecutor() as threads:
            archives = {container: str(pods.node.directory / f"{container}.tar") for container in (one, two)}
            calls = [threads.submit(pods.cri.checkpoint_container, *item) for item in archives.items()]
            until((place / "running").exists, bool)
            (place / "go-on").touch()
            for call in calls:
                call.result()
        assert not (place / "two-at-once").exists()
        assert pods.exec(one, "echo alive") == "alive\n"


def test_a_pod_is_stopped_in_the_middle_of_its_checkpoint() -> None:
    with fake_criu() as (pods, place):
        sandbox = pods.run_sandbox()
        container = pods.start(sandbox)
        directory = pods.node.directory / "checkpoint"
        directory.mkdir()
        with concurrent.futures.ThreadPoolExecutor() as threads:
            call = threads.submit(checkpoint, pods, sandbox, [container], directory)
            until((place / container).exists, bool)
            pods.cri.stop_pod_sandbox(sandbox, deadline=20)
            with pytest.raises(Internal, match="cannot checkpoint the container"):
                call.result()
        assert pods.status(container).exit_code == 137
        assert os.listdir(directory) == []


# ---- one container


@needs_criu
def test_an_archive_of_a_container(pods: Pods, directory: Path) -> None:
    sandbox = pods.run_sandbox(config_of_pod(pods, "archived"))
    (container,) = start_counters(pods, sandbox, counter(pods, "one", "rm /etc/group; mkdir /new")).values()
    archive = directory / "one.tar"
    pods.cri.checkpoint_container(container, str(archive), timeout=300)
    goes_on(pods, container)
    assert [path.name for path in directory.iterdir()] == ["one.tar"]
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as opened:
        names = {name.split("/")[0] for name in opened.getnames()}
        texts = {name: opened.extractfile(name).read() for name in LAYOUT - {"checkpoint"}}  # type: ignore[union-attr]
        assert "checkpoint/inventory.img" in opened.getnames()
    assert names >= LAYOUT
    config = json.loads(texts["config.dump"])
    assert (config["id"], config["name"], config["runtime"]) == (container, "one", "runc")
    assert config["rootfsImageName"] == IMAGE
    assert config["checkpointedTime"] > config["createdTime"]
    annotations = json.loads(texts["spec.dump"])["annotations"]
    assert annotations["io.kubernetes.cri.sandbox-name"] == "archived"
    assert json.loads(texts["status.dump"])["state"] == "CONTAINER_RUNNING"
    assert json.loads(texts["deleted.files"]) == ["/etc/group"]
    assert texts["container.log"].decode().count(" stdout F one ") >= 3
    (directory / "diff.tar").write_bytes(texts["rootfs-diff.tar"])
    with tarfile.open(directory / "diff.tar") as diff:
        assert {"./count", "./new", "./etc/.wh.group"} <= set(diff.getnames())


@needs_criu
def test_what_is_refused_for_an_archive(pods: Pods, directory: Path) -> None:
    sandbox = pods.run_sandbox()
    created, ended = pods.create(sandbox), pods.start(sandbox, "exit 0")
    pods.exited(ended)
    running = pods.start(sandbox)
    for container in (created, ended):
        with pytest.raises(FailedPrecondition):
            pods.cri.checkpoint_container(container, str(directory / "a.tar"))
    with pytest.raises(NotFound):
        pods.cri.checkpoint_container("no-such-container", str(directory / "a.tar"))
    for location in ("", "relative.tar", str(directory), str(directory / "none/a.tar")):
        with pytest.raises(InvalidArgument, match="location"):
            pods.cri.checkpoint_container(running, location)
    with pytest.raises(InvalidArgument, match="timeout"):
        pods.cri.checkpoint_container(running, str(directory / "a.tar"), timeout=-1)
    assert list(directory.iterdir()) == []


@needs_criu
def test_a_container_goes_on_from_its_archive(pods: Pods, directory: Path) -> None:
    """Unpacked, the archive is a checkpoint of a pod with this container."""
    config = config_of_pod(pods, "single")
    (container,) = start_counters(pods, pods.run_sandbox(config), counter(pods, "one")).values()
    pods.cri.checkpoint_container(container, str(directory / "one.tar"), timeout=300)
    (directory / "pod/one").mkdir(parents=True)
    subprocess.run(["tar", "-xf", directory / "one.tar", "-C", directory / "pod/one"], check=True)
    until(lambda: counts(pods, container), lambda found: found[-1] > 20, seconds=60)
    pods.remove_all()
    _, ids = restore(pods, directory / "pod", config_of_pod(pods, "again"), counter(pods, "one"))
    pods.cri.start_container(ids["one"])
    goes_on(pods, ids["one"], after=0)
    assert 3 <= counts(pods, ids["one"])[0] < 20


# ---- a pod


@needs_criu
@pytest.mark.parametrize("pid", [v1.CONTAINER, v1.POD], ids=["own processes", "shared processes"])
def test_a_pod_goes_on(pods: Pods, directory: Path, pid: v1.NamespaceMode) -> None:
    """Memory, files, and what was deleted are as they were; the pod is another one."""
    config = config_of_pod(pods, f"before-{pid}", pid)
    linux = secured(namespace_options=v1.NamespaceOption(pid=pid))
    configs = [counter(pods, name, "rm -f /etc/group", linux=linux) for name in ("one", "two")]
    sandbox = pods.run_sandbox(config)
    ids = start_counters(pods, sandbox, *configs)
    checkpoint(pods, sandbox, list(ids.values()), directory)
    assert {path.name for path in directory.iterdir()} == {"one", "two", "pod.dump", "pod.options"}
    for path in (directory / "one", directory / "one/checkpoint", *directory.rglob("*.dump")):
        assert path.stat().st_mode & 0o077 == 0
    options = json.loads((directory / "pod.options").read_text())
    assert options["annotations"]["org.criu.checkpoint.pod.name"] == f"before-{pid}"
    for container in ids.values():
        goes_on(pods, container)
        hears_itself(pods, container)
    last = {name: int((directory / name / "container.log").read_text().split()[-1]) for name in ids}
    pods.remove_all()

    after = config_of_pod(pods, f"after-{pid}", pid)
    restored, new_ids = restore(pods, directory, after, *configs)
    assert new_ids.keys() == ids.keys()
    assert pods.sandbox(restored).state == v1.SANDBOX_READY
    for name, container in new_ids.items():
        status = pods.status(container)
        assert (status.state, status.metadata.name) == (v1.CONTAINER_CREATED, name)
        assert pods.output(container) == ""
    shutil.rmtree(directory)  # what was restored needs it no more
    for name, container in new_ids.items():
        pods.cri.start_container(container)
        assert pods.status(container).state == v1.CONTAINER_RUNNING
        goes_on(pods, container, after=0)
        hears_itself(pods, container)
        assert counts(pods, container)[0] in (last[name], last[name] + 1)
        assert pods.exec(container, "ls /etc/group 2>/dev/null || echo deleted") == "deleted\n"
        assert int(until(functools.partial(pods.exec, container, "cat /count"), bool)) > last[name]
    spaces = {pods.exec(c, "readlink /proc/self/ns/ipc; readlink /proc/self/ns/net") for c in new_ids.values()}
    assert len(spaces) == 1
    pods.cri.stop_container(new_ids["one"], timeout=0)
    assert pods.status(new_ids["one"]).exit_code == 137
    goes_on(pods, new_ids["two"])


@needs_criu
def test_the_whole_pod_stands_still_meanwhile(pods: Pods, directory: Path) -> None:
    """No container counts between the first dump's beginning and the last one's end: all are of one moment."""
    sandbox = pods.run_sandbox(config_of_pod(pods, "cut"))
    ids = start_counters(pods, sandbox, *(counter(pods, name) for name in ("one", "two", "three")))
    checkpoint(pods, sandbox, list(ids.values()), directory)
    dumps = [
        (stage["startedAt"], stage["startedAt"] + stage["seconds"] * 1e9)
        for container in ids.values()
        for stage in pods.info(container)["timeline"]
        if stage["stage"] == "checkpoint.dump"
    ]
    assert len(dumps) == 3
    for container in ids.values():
        goes_on(pods, container)
        log = Path(pods.status(container).log_path).read_text().splitlines()
        times = [_nanoseconds(line.split()[0]) for line in log]
        assert not [t for t in times if min(begin for begin, _ in dumps) < t < max(end for _, end in dumps)]


def _nanoseconds(stamp: str) -> int:
    """Of a CRI log's time."""
    done = subprocess.run(["date", "-d", stamp, "+%s%N"], capture_output=True, text=True, check=True)
    return int(done.stdout)


@needs_criu
def test_commands_wait(pods: Pods, directory: Path) -> None:
    """As a kubelet's probes come while a container is written; another container cannot be started then."""
    sandbox = pods.run_sandbox(config_of_pod(pods, "probed"))
    ids = start_counters(pods, sandbox, counter(pods, "one", "head -c 200000000 /dev/zero >/big"))
    waiting = pods.create(sandbox, counter(pods, "two"))
    results: queue.SimpleQueue[str] = queue.SimpleQueue()

    def probe() -> None:
        until((directory / "one").exists, bool, seconds=60)
        with pytest.raises(FailedPrecondition, match="being checkpointed"):
            pods.cri.start_container(waiting)
        results.put(pods.exec(ids["one"], "echo probed"))

    probing = threading.Thread(target=probe)
    probing.start()
    checkpoint(pods, sandbox, [ids["one"]], directory)
    assert results.get(timeout=60) == "probed\n"
    probing.join()
    pods.cri.start_container(waiting)


@needs_criu
def test_volumes_of_the_image_and_connections(pods: Pods, directory: Path) -> None:
    """Anonymous volumes come along; a connection of the old pod is closed in the new one, and does no harm."""
    pods.load_image("test.local/volumes:1", Volumes={"/data": {}})
    script = "sleep 1000 | nc -l -p 99 >/dev/null & sleep 0.5; (sleep 1000 | nc 127.0.0.1 99) & echo kept >/data/file"
    one = counter(pods, "one", script, image=v1.ImageSpec(image="test.local/volumes:1"))
    sandbox = pods.run_sandbox(config_of_pod(pods, "with-volume"))
    ids = start_counters(pods, sandbox, one)
    assert "ESTABLISHED" in pods.exec(ids["one"], "netstat -tn")
    checkpoint(pods, sandbox, list(ids.values()), directory)
    pods.remove_all()
    _, new_ids = restore(pods, directory, config_of_pod(pods, "again"), one)
    pods.cri.start_container(new_ids["one"])
    goes_on(pods, new_ids["one"], after=0)
    assert pods.exec(new_ids["one"], "cat /data/file") == "kept\n"
    assert "ESTABLISHED" not in pods.exec(new_ids["one"], "netstat -tn")
    pods.remove_all()
    pods.cri.remove_image("test.local/volumes:1")


@needs_criu
def test_before_a_restored_container_is_started(pods: Pods, directory: Path) -> None:
    """It survives the daemon, takes new limits, and can be stopped and removed."""
    sandbox = pods.run_sandbox(config_of_pod(pods, "waiting"))
    configs = [counter(pods, name) for name in ("one", "two")]
    ids = start_counters(pods, sandbox, *configs)
    checkpoint(pods, sandbox, list(ids.values()), directory)
    pods.remove_all()
    _, new_ids = restore(pods, directory, config_of_pod(pods, "again"), *configs)
    one, two = new_ids["one"], new_ids["two"]
    pods.node.kill()
    pods.node.start()
    assert {pods.status(container).state for container in (one, two)} == {v1.CONTAINER_CREATED}
    limits = v1.LinuxContainerResources(memory_limit_in_bytes=64 << 20)
    pods.cri.update_container_resources(one, linux=limits)
    assert pods.status(one).resources.linux.memory_limit_in_bytes == 64 << 20
    with pytest.raises(FailedPrecondition):
        pods.exec(one, "true")
    pods.cri.start_container(one)
    goes_on(pods, one, after=0)
    assert pods.cri.container_stats(one).stats.memory.available_bytes.value < 64 << 20
    pods.cri.stop_container(two, timeout=10)
    status = pods.status(two)
    assert (status.state, status.exit_code) == (v1.CONTAINER_EXITED, 128)
    pods.cri.remove_container(two)


@needs_criu
def test_what_is_refused_for_a_pod(pods: Pods, directory: Path) -> None:
    sandbox, other = pods.run_sandbox(), pods.run_sandbox()
    running, elsewhere, created = pods.start(sandbox), pods.start(other), pods.create(sandbox)
    full = directory / "full"
    (full / "something").mkdir(parents=True)
    empty = directory / "empty"
    empty.mkdir()
    refused: list[tuple[list[str], Path, dict[str, Any], str]] = [
        ([], empty, {}, "container_ids"),
        ([running, running], empty, {}, "container_ids"),
        ([running, elsewhere], empty, {}, "container_ids"),
        ([running], empty, {"options": {"leave-running": "false"}}, "leave-running"),
        ([running], full, {}, "output_path"),
        ([running], directory / "none", {}, "output_path"),
        ([running], Path("relative"), {}, "output_path"),
    ]
    for ids, path, fields, words in refused:
        with pytest.raises(InvalidArgument, match=words):
            checkpoint(pods, sandbox, ids, path, **fields)
    with pytest.raises(FailedPrecondition, match="created"):
        checkpoint(pods, sandbox, [running, created], empty)
    with pytest.raises(NotFound):
        checkpoint(pods, "no-such-sandbox", [running], empty)
    assert os.listdir(empty) == []
    assert os.listdir(full) == ["something"]
    assert pods.exec(running, "echo alive") == "alive\n"


@needs_criu
def test_what_does_not_fit_a_checkpoint(pods: Pods, directory: Path) -> None:
    """Nothing of the new pod is left, and the checkpoint is good for another try."""
    sandbox = pods.run_sandbox(config_of_pod(pods, "picky"))
    one = counter(pods, "one", envs=[v1.KeyValue(key="A", value=b"1")])
    ids = start_counters(pods, sandbox, one)
    checkpoint(pods, sandbox, list(ids.values()), directory)
    pods.load_image("test.local/other:1", Labels={"other": "image"})
    pods.remove_all()
    files = sorted(path.name for path in directory.rglob("*"))

    def changed(**fields: Any) -> v1.ContainerConfig:
        return counter(pods, "one", **{"envs": one.envs, **fields})

    refused: list[tuple[list[v1.ContainerConfig], str]] = [
        ([], "container_configs"),
        ([one, counter(pods, "two")], "two"),
        ([counter(pods, "two")], "two"),
        ([one, one], "twice"),
        ([changed(image=v1.ImageSpec(image="test.local/other:1"))], "image"),
        ([changed(envs=[v1.KeyValue(key="A", value=b"2")])], "A=2"),
        ([changed(command=["sleep", "1000"])], "args"),
        ([changed(working_dir="/tmp")], "cwd"),
        ([changed(linux=secured(run_as_user=v1.Int64Value(value=1000)))], "user"),
        ([changed(mounts=[v1.Mount(host_path="/tmp", container_path="/mnt")])], "/mnt"),
    ]
    for configs, words in refused:
        with pytest.raises(InvalidArgument, match=words):
            restore(pods, directory, config_of_pod(pods, "again"), *configs)
        assert list(pods.cri.list_pod_sandbox().items) == []
    with pytest.raises(InvalidArgument, match="shared"):
        restore(pods, directory, config_of_pod(pods, "again", v1.POD), changed(linux=v1.LinuxContainerConfig()))
    with pytest.raises(InvalidArgument, match="some-option"):
        restore(pods, directory, config_of_pod(pods, "again"), one, options={"some-option": "1"})
    with pytest.raises(InvalidArgument, match="crun"):
        crun_cannot(pods, directory, one)
    with pytest.raises(NotFound, match=r"test\.local/none"):
        restore(pods, directory, config_of_pod(pods, "again"), changed(image=v1.ImageSpec(image="test.local/none:1")))
    for path in (directory / "none", directory / "one", Path("relative")):
        with pytest.raises(InvalidArgument):
            restore(pods, path, config_of_pod(pods, "again"), one)
    assert list(pods.cri.list_containers().containers) == []
    assert sorted(path.name for path in directory.rglob("*")) == files
    _, new_ids = restore(pods, directory, config_of_pod(pods, "again"), one)
    pods.cri.start_container(new_ids["one"])
    goes_on(pods, new_ids["one"], after=0)
    pods.remove_all()
    pods.cri.remove_image("test.local/other:1")


def crun_cannot(pods: Pods, directory: Path, config: v1.ContainerConfig) -> None:
    """Restores with another OCI runtime; Debian's crun has no criu in it, which comes to the same."""
    try:
        restore(pods, directory, config_of_pod(pods, "again"), config, runtime_handler="crun")
    except FailedPrecondition as error:
        raise InvalidArgument(str(error)) from error


@needs_criu
def test_images_that_criu_cannot_read(pods: Pods, directory: Path) -> None:
    """The container ends with criu's words; the other one runs."""
    sandbox = pods.run_sandbox(config_of_pod(pods, "broken"))
    configs = [counter(pods, name) for name in ("one", "two")]
    ids = start_counters(pods, sandbox, *configs)
    checkpoint(pods, sandbox, list(ids.values()), directory)
    pods.remove_all()
    (directory / "one/checkpoint/pstree.img").write_bytes(b"nothing")
    _, new_ids = restore(pods, directory, config_of_pod(pods, "again"), *configs)
    with pytest.raises(Internal, match="criu"):
        pods.cri.start_container(new_ids["one"])
    status = pods.status(new_ids["one"])
    assert (status.state, status.reason, status.exit_code) == (v1.CONTAINER_EXITED, "StartError", 128)
    pods.cri.start_container(new_ids["two"])
    goes_on(pods, new_ids["two"], after=0)


# ---- what goes wrong meanwhile


def restart(pods: Pods, failpoint: str = "") -> None:
    """A new daemon, which fails, or is killed, at a stage."""
    pods.node.stop()
    pods.node.environment.clear()
    if failpoint:
        pods.node.environment["PODWRIGHT_FAILPOINT"] = failpoint
    pods.node.start()


@needs_criu
@pytest.mark.parametrize("stage", ["checkpoint.freeze", "checkpoint.dump", "checkpoint.files", "checkpoint.describe"])
def test_a_failure_leaves_nothing(pods: Pods, directory: Path, stage: str) -> None:
    restart(pods, f"fail@{stage}")
    sandbox = pods.run_sandbox(config_of_pod(pods, "failing"))
    ids = start_counters(pods, sandbox, *(counter(pods, name) for name in ("one", "two")))
    with pytest.raises(Internal, match=stage):
        checkpoint(pods, sandbox, list(ids.values()), directory)
    assert os.listdir(directory) == []
    for container in ids.values():
        goes_on(pods, container)
    restart(pods)


@needs_criu
@pytest.mark.parametrize("stage", ["checkpoint.dump", "checkpoint.files", "checkpoint.describe"])
def test_a_daemon_that_is_killed_leaves_nothing_frozen(pods: Pods, directory: Path, stage: str) -> None:
    restart(pods, f"kill@{stage}")
    sandbox = pods.run_sandbox(config_of_pod(pods, "killed"))
    ids = start_counters(pods, sandbox, *(counter(pods, name) for name in ("one", "two")))
    with pytest.raises(PodwrightError) as failure:
        checkpoint(pods, sandbox, list(ids.values()), directory)
    assert "cannot checkpoint" not in str(failure.value), "criu has failed, so the daemon has not come to the stage"
    pods.node.wait()
    pods.node.environment.clear()
    pods.node.start()
    for container in ids.values():
        goes_on(pods, container)
    until(lambda: os.listdir(directory), lambda entries: entries == [], seconds=60)


@needs_criu
def test_a_daemon_that_is_killed_while_it_restores(pods: Pods, directory: Path) -> None:
    """Half a pod is none: it is gone when the next daemon is there, and can be restored then."""
    sandbox = pods.run_sandbox(config_of_pod(pods, "half"))
    configs = [counter(pods, name) for name in ("one", "two")]
    ids = start_counters(pods, sandbox, *configs)
    checkpoint(pods, sandbox, list(ids.values()), directory)
    pods.remove_all()
    restart(pods, "kill@after:container.spec")
    with pytest.raises(Exception, match="RestorePod"):
        restore(pods, directory, config_of_pod(pods, "again"), *configs)
    pods.node.wait()
    pods.node.environment.clear()
    pods.node.start()
    until(lambda: list(pods.cri.list_pod_sandbox().items), lambda items: not items, seconds=60)
    _, new_ids = restore(pods, directory, config_of_pod(pods, "again"), *configs)
    pods.cri.start_container(new_ids["two"])
    goes_on(pods, new_ids["two"], after=0)


@needs_criu
def test_as_people_type_it(pods: Pods, directory: Path) -> None:
    def podwright(command: str, *arguments: str) -> str:
        words = [sys.executable, "-m", "podwright", command, "-r", f"unix://{pods.node.socket}", *arguments]
        return subprocess.run(pods.node.enter(words), stdout=subprocess.PIPE, text=True, check=True).stdout

    configs = [counter(pods, name) for name in ("one", "two")]
    ids = start_counters(pods, pods.run_sandbox(config_of_pod(pods, "typed")), *configs)
    assert podwright("checkpoint", "typed/one", f"{directory}/one.tar") == f"{directory}/one.tar\n"
    assert podwright("checkpoint", "typed", f"{directory}/pod") == f"{directory}/pod\n"
    assert tarfile.is_tarfile(directory / "one.tar")
    for container in ids.values():
        goes_on(pods, container)
    pods.remove_all()
    _, new_ids = restore(pods, directory / "pod", config_of_pod(pods, "again"), *configs)
    assert sorted(podwright("start", "again").split()) == ["test/again/one", "test/again/two"]
    for container in new_ids.values():
        goes_on(pods, container, after=0)


@needs_criu
def test_a_caller_that_leaves(pods: Pods, directory: Path) -> None:
    sandbox = pods.run_sandbox(config_of_pod(pods, "left"))
    ids = start_counters(pods, sandbox, *(counter(pods, name) for name in ("one", "two")))
    with pytest.raises(DeadlineExceeded):
        pods.cri.checkpoint_pod(sandbox, str(directory), container_ids=list(ids.values()), deadline=0.05)
    for container in ids.values():
        goes_on(pods, container)
    until(lambda: os.listdir(directory), lambda entries: entries == [], seconds=60)
    checkpoint(pods, sandbox, list(ids.values()), directory)
    assert (directory / "pod.dump").exists()
