"""The life of sandboxes and containers: states, times, idempotence, names, lists."""

import time

import pytest

from podwright.cri import v1
from podwright.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from support.cri import IMAGE, Pods, until

pytestmark = pytest.mark.root


@pytest.mark.parametrize("handler", ["", "crun", "runc"])
def test_a_life(pods: Pods, handler: str) -> None:
    config = pods.networked_config(labels={"app": "web"}, annotations={"note": "ä/b"})
    before = time.time_ns()
    sandbox_id = pods.run_sandbox(config, handler)
    sandbox = pods.sandbox(sandbox_id)
    assert sandbox.id == sandbox_id
    assert sandbox.metadata == config.metadata
    assert sandbox.state == v1.SANDBOX_READY
    assert before <= sandbox.created_at <= time.time_ns()
    assert sandbox.network.ip.startswith("10.89.")
    assert dict(sandbox.labels) == {"app": "web"}
    assert dict(sandbox.annotations) == {"note": "ä/b"}
    assert sandbox.runtime_handler == handler

    container = pods.container_config("echo hello; exec sleep 1000", labels={"role": "server"}, annotations={"a": "b"})
    container_id = pods.create(sandbox_id, container)
    status = pods.status(container_id)
    assert status.state == v1.CONTAINER_CREATED
    assert (status.started_at, status.finished_at, status.exit_code, status.reason) == (0, 0, 0, "")
    assert status.created_at >= sandbox.created_at
    assert status.metadata == container.metadata
    assert status.image.image == IMAGE
    assert status.image_ref == status.image_id == pods.cri.image_status(IMAGE).image.id
    assert dict(status.labels) == {"role": "server"}
    assert dict(status.annotations) == {"a": "b"}
    assert status.log_path == f"{config.log_directory}/{container.log_path}"

    pods.cri.start_container(container_id)
    status = pods.status(container_id)
    assert status.state == v1.CONTAINER_RUNNING
    assert status.created_at < status.started_at <= time.time_ns()
    assert status.finished_at == 0
    pods.says(container_id, "hello")

    pods.cri.stop_container(container_id, timeout=0)
    status = pods.status(container_id)
    assert status.state == v1.CONTAINER_EXITED
    assert (status.exit_code, status.reason) == (137, "Error")
    assert status.started_at <= status.finished_at <= time.time_ns()

    pods.cri.stop_pod_sandbox(sandbox_id)
    assert pods.sandbox(sandbox_id).state == v1.SANDBOX_NOTREADY
    assert pods.status(container_id).state == v1.CONTAINER_EXITED
    pods.cri.remove_container(container_id)
    with pytest.raises(NotFound, match=container_id):
        pods.status(container_id)
    pods.cri.remove_pod_sandbox(sandbox_id)
    with pytest.raises(NotFound, match=sandbox_id):
        pods.sandbox(sandbox_id)


def test_stop_and_remove_may_be_repeated(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox()
    container_id = pods.start(sandbox_id)
    for _ in range(2):
        pods.cri.stop_container(container_id, timeout=0)
    for _ in range(2):
        pods.cri.remove_container(container_id)
    pods.cri.stop_container(container_id, timeout=5)
    for _ in range(3):
        pods.cri.stop_pod_sandbox(sandbox_id)
    for _ in range(2):
        pods.cri.remove_pod_sandbox(sandbox_id)
    pods.cri.stop_pod_sandbox(sandbox_id)


def test_remove_of_what_runs(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config())
    pods.create(sandbox_id)
    pods.cri.remove_container(pods.start(sandbox_id))
    assert len(pods.cri.list_containers().containers) == 1
    pods.start(sandbox_id)
    pods.cri.remove_pod_sandbox(sandbox_id)
    assert not pods.cri.list_containers().containers
    assert not pods.cri.list_pod_sandbox().items


def test_unknown_objects(pods: Pods) -> None:
    nothing = "f" * 64
    calls = {
        "pod sandbox": (
            lambda: pods.cri.pod_sandbox_status(nothing),
            lambda: pods.cri.create_container(nothing, pods.container_config()),
        ),
        "container": (
            lambda: pods.cri.container_status(nothing),
            lambda: pods.cri.start_container(nothing),
            lambda: pods.cri.exec_sync(nothing, ["true"]),
            lambda: pods.cri.reopen_container_log(nothing),
            lambda: pods.cri.update_container_resources(nothing, linux=v1.LinuxContainerResources(cpu_shares=2)),
            lambda: pods.cri.container_stats(nothing),
        ),
    }
    for kind, of_kind in calls.items():
        for call in of_kind:
            with pytest.raises(NotFound, match=f'^{kind} "{nothing}" not found'):
                call()


def test_a_container_starts_once(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox()
    container_id = pods.start(sandbox_id, "exit 3")
    assert pods.exited(container_id).exit_code == 3
    for running in (container_id, pods.start(sandbox_id)):
        with pytest.raises(FailedPrecondition, match="only a created one can be started"):
            pods.cri.start_container(running)


def test_nothing_is_made_in_a_stopped_sandbox(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox()
    created = pods.create(sandbox_id)
    pods.cri.stop_pod_sandbox(sandbox_id)
    assert pods.status(created).state == v1.CONTAINER_EXITED
    assert pods.status(created).started_at == 0
    with pytest.raises(FailedPrecondition, match="is not ready"):
        pods.create(sandbox_id)
    with pytest.raises(FailedPrecondition):
        pods.cri.start_container(created)


def test_names_are_unique_while_their_owner_lives(pods: Pods) -> None:
    config = pods.sandbox_config()
    sandbox_id = pods.run_sandbox(config)
    with pytest.raises(AlreadyExists, match=sandbox_id):
        pods.run_sandbox(config)
    container = pods.container_config()
    container_id = pods.create(sandbox_id, container)
    with pytest.raises(AlreadyExists, match=container_id):
        pods.create(sandbox_id, container)
    container.metadata.attempt = 1
    assert pods.create(sandbox_id, container) != container_id
    config.metadata.attempt = 1
    other = pods.run_sandbox(config)
    assert pods.create(other, container)

    pods.cri.remove_container(container_id)
    container.metadata.attempt = 0
    assert pods.create(sandbox_id, container) != container_id
    pods.cri.remove_pod_sandbox(sandbox_id)
    config.metadata.attempt = 0
    assert pods.run_sandbox(config) != sandbox_id


def test_lists_take_all_conditions_together(pods: Pods) -> None:
    web = pods.run_sandbox(pods.sandbox_config(labels={"app": "web", "tier": "front"}))
    db = pods.run_sandbox(pods.sandbox_config(labels={"app": "db", "tier": "back"}))
    pods.cri.stop_pod_sandbox(db)

    def sandboxes(**conditions: object) -> set[str]:
        listed = pods.cri.list_pod_sandbox(v1.PodSandboxFilter(**conditions)).items  # type: ignore[arg-type]
        return {sandbox.id for sandbox in listed}

    ready = v1.PodSandboxStateValue(state=v1.SANDBOX_READY)
    assert sandboxes() == {web, db}
    assert {sandbox.id for sandbox in pods.cri.list_pod_sandbox().items} == {web, db}
    assert sandboxes(id=web) == {web}
    assert sandboxes(id=db[:10]) == {db}
    assert sandboxes(state=ready) == {web}
    assert sandboxes(state=v1.PodSandboxStateValue(state=v1.SANDBOX_NOTREADY)) == {db}
    assert sandboxes(label_selector={"app": "web"}) == {web}
    assert sandboxes(label_selector={"app": "web", "tier": "back"}) == set()
    assert sandboxes(label_selector={"app": "db"}, state=ready) == set()
    assert sandboxes(id="0" * 64) == set()

    one = pods.create(web, pods.container_config(labels={"n": "1"}))
    two = pods.start(web, pods.container_config(labels={"n": "2"}))

    def containers(**conditions: object) -> set[str]:
        listed = pods.cri.list_containers(v1.ContainerFilter(**conditions)).containers  # type: ignore[arg-type]
        return {container.id for container in listed}

    running = v1.ContainerStateValue(state=v1.CONTAINER_RUNNING)
    created = v1.ContainerStateValue(state=v1.CONTAINER_CREATED)
    assert containers() == {one, two}
    assert containers(id=one[:12]) == {one}
    assert containers(pod_sandbox_id=web[:12]) == {one, two}
    assert containers(pod_sandbox_id=db) == set()
    assert containers(state=running) == {two}
    assert containers(state=created) == {one}
    assert containers(label_selector={"n": "1"}) == {one}
    assert containers(label_selector={"n": "1"}, state=running) == set()
    (listed,) = pods.cri.list_containers(v1.ContainerFilter(id=two)).containers
    assert listed.pod_sandbox_id == web
    assert listed.image.image == IMAGE
    assert listed.image_ref == listed.image_id == pods.status(two).image_ref
    assert listed.created_at == pods.status(two).created_at


def test_ids_may_be_cut_short_while_they_tell_one_object(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox()
    container_id = pods.start(sandbox_id)
    assert pods.sandbox(sandbox_id[:10]).id == sandbox_id
    assert pods.status(container_id[:10]).id == container_id
    assert pods.exec(container_id[:10], "echo ok") == "ok\n"
    while len({status.id[0] for status in pods.cri.list_pod_sandbox().items}) == len(pods.cri.list_pod_sandbox().items):
        pods.run_sandbox()  # at the 17th at the latest two ids begin alike
    first = [status.id[0] for status in pods.cri.list_pod_sandbox().items]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(InvalidArgument, match="more than one pod sandbox"):
        pods.sandbox(twice)
    for empty in (lambda: pods.sandbox(""), lambda: pods.cri.stop_pod_sandbox(""), lambda: pods.status("")):
        with pytest.raises(InvalidArgument, match="is empty"):
            empty()


def test_an_unknown_handler_is_refused(pods: Pods) -> None:
    with pytest.raises(InvalidArgument, match='runtime_handler: there is no handler "kata"'):
        pods.run_sandbox(handler="kata")


def test_verbose_information(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox(pods.networked_config())
    container_id = pods.start(sandbox_id, "sleep 1000; true")
    info = pods.info(container_id)
    assert info["sandboxID"] == sandbox_id
    # The OCI runtime has let it go, which does not mean that it has got as far as execve.
    until((pods.proc(container_id) / "cmdline").read_bytes, lambda line: line.split(b"\0")[0] == b"sh")
    assert info["runtimeSpec"]["process"]["args"] == ["sh", "-c", "sleep 1000; true"]
    assert info["config"]["image"] == {"image": IMAGE}
    assert not pods.cri.container_status(container_id).info
    assert not pods.cri.pod_sandbox_status(sandbox_id).info
    assert "info" in pods.cri.pod_sandbox_status(sandbox_id, verbose=True).info
