"""GetContainerEvents: complete, in order, after the state is visible, for late and for slow listeners."""

import collections
import functools
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import grpc
import pytest

from podwright.cri import v1
from podwright.cri.methods import METHODS
from support.cri import Pods, until
from support.node import Node

pytestmark = pytest.mark.root

CREATED, STARTED = v1.CONTAINER_CREATED_EVENT, v1.CONTAINER_STARTED_EVENT
STOPPED, DELETED = v1.CONTAINER_STOPPED_EVENT, v1.CONTAINER_DELETED_EVENT
WHOLE_LIFE = [CREATED, STARTED, STOPPED, DELETED]


class Listener:
    """A stream of events on a connection of its own, read by a thread."""

    def __init__(self, node: Node, pause: float = 0) -> None:
        self._channel = grpc.insecure_channel(f"unix:{node.socket}", options=[("grpc.use_local_subchannel_pool", 1)])
        method = METHODS["GetContainerEvents"]
        call = self._channel.unary_stream(
            method.path("v1"), method.request.SerializeToString, method.response.FromString
        )
        self._stream = call(v1.GetEventsRequest())
        self._pause = pause
        self.events: list[v1.ContainerEventResponse] = []
        self._new: queue.SimpleQueue[v1.ContainerEventResponse] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for event in cast("Iterator[v1.ContainerEventResponse]", self._stream):
                time.sleep(self._pause)
                self.events.append(event)
                self._new.put(event)
        except grpc.RpcError:  # by close(), or what waits for events will tell
            return

    def wait_for(self, object_id: str, event_type: v1.ContainerEventType) -> v1.ContainerEventResponse:
        """The next event of this kind."""
        while True:
            event = self._new.get(timeout=30)
            if event.container_id == object_id and event.container_event_type == event_type:
                return event

    def of(self, object_id: str) -> list[v1.ContainerEventType]:
        """What has happened to an object, in order."""
        return [event.container_event_type for event in self.events if event.container_id == object_id]

    def close(self) -> None:
        self._stream.cancel()
        self._thread.join()
        self._channel.close()


@pytest.fixture
def listener(pods: Pods) -> Iterator[Listener]:
    made = Listener(pods.node)
    yield made
    made.close()


def test_a_life_in_events(pods: Pods, listener: Listener) -> None:
    """Each event shows the pod as it is right after, as kubelet's Evented PLEG takes it."""
    sandbox = pods.run_sandbox(pods.networked_config("eventful"))
    ready = listener.wait_for(sandbox, STARTED)
    assert ready.pod_sandbox_status == pods.sandbox(sandbox)
    assert ready.pod_sandbox_status.metadata.uid == "uid-eventful"
    assert ready.pod_sandbox_status.network.ip
    assert not ready.containers_statuses

    container = pods.create(sandbox)
    created = listener.wait_for(container, CREATED)
    assert [status.state for status in created.containers_statuses] == [v1.CONTAINER_CREATED]
    pods.cri.start_container(container)
    started = listener.wait_for(container, STARTED)
    assert list(started.containers_statuses) == [pods.status(container)]

    pods.cri.stop_container(container, timeout=0)
    stopped = listener.wait_for(container, STOPPED)
    assert list(stopped.containers_statuses) == [pods.status(container)]
    assert stopped.containers_statuses[0].exit_code == 137
    pods.cri.remove_container(container)
    deleted = listener.wait_for(container, DELETED)
    assert not deleted.containers_statuses
    assert deleted.pod_sandbox_status.state == v1.SANDBOX_READY

    pods.cri.stop_pod_sandbox(sandbox)
    assert listener.wait_for(sandbox, STOPPED).pod_sandbox_status.state == v1.SANDBOX_NOTREADY
    pods.cri.remove_pod_sandbox(sandbox)
    gone = listener.wait_for(sandbox, DELETED)
    assert gone.pod_sandbox_status.metadata.name == "eventful"
    assert gone.pod_sandbox_status.created_at > 0
    assert listener.of(sandbox) == WHOLE_LIFE
    assert listener.of(container) == WHOLE_LIFE


def test_a_container_that_ends_by_itself(pods: Pods, listener: Listener) -> None:
    sandbox = pods.run_sandbox()
    container = pods.start(sandbox, "exit 3")
    stopped = listener.wait_for(container, STOPPED)
    assert [(status.exit_code, status.reason) for status in stopped.containers_statuses] == [(3, "Error")]


def test_what_could_not_be_made_has_no_events(pods: Pods, listener: Listener) -> None:
    sandbox = pods.run_sandbox()
    nothing = v1.Device(host_path="/dev/nothing", container_path="/dev/nothing", permissions="r")
    with pytest.raises(Exception, match=r"/dev/nothing"):
        pods.create(sandbox, name="broken", devices=[nothing])
    whole = pods.create(sandbox)
    listener.wait_for(whole, CREATED)
    assert {event.container_id for event in listener.events if event.pod_sandbox_status.id == sandbox} == {
        sandbox,
        whole,
    }


def test_an_event_is_never_ahead_of_lists_and_statuses(pods: Pods, listener: Listener) -> None:
    """Whoever hears of a state and looks, sees it, or a later one."""
    order = {v1.CONTAINER_CREATED: 0, v1.CONTAINER_RUNNING: 1, v1.CONTAINER_EXITED: 2}
    states = {CREATED: 0, STARTED: 1, STOPPED: 2}
    sandbox = pods.run_sandbox()
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: pods.start(sandbox, "exit 0"), range(8)))
        seen = 0
        while seen < 3 * len(ids):
            event = listener._new.get(timeout=30)
            if event.container_id in ids:
                seen += 1
                (listed,) = pods.cri.list_containers(v1.ContainerFilter(id=event.container_id)).containers
                assert order[listed.state] >= states[event.container_event_type]


def test_a_late_listener_hears_what_was(pods: Pods, listener: Listener) -> None:
    sandbox = pods.run_sandbox()
    container = pods.start(sandbox, "exit 0")
    listener.wait_for(container, STOPPED)
    late = Listener(pods.node)
    try:
        late.wait_for(container, STOPPED)
        assert late.of(container) == [CREATED, STARTED, STOPPED]
        assert late.events == listener.events[-len(late.events) :]
    finally:
        late.close()


def test_a_listener_that_leaves_while_an_event_is_on_its_way(pods: Pods, machine: Node) -> None:
    logged = len(machine.log.read_text())
    pods.run_sandbox(pods.sandbox_config(annotations={f"large-{number}": "x" * 200_000 for number in range(20)}))
    method = METHODS["GetContainerEvents"]
    with grpc.insecure_channel(f"unix:{machine.socket}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        listen = channel.unary_stream(method.path("v1"), method.request.SerializeToString, method.response.FromString)
        stream = listen(v1.GetEventsRequest())
        next(stream)
    until(lambda: machine.log.read_text()[logged:], lambda log: "GetContainerEvents (v1): CancelledError" in log)
    assert "Traceback" not in machine.log.read_text()[logged:]


def test_the_command_line(pods: Pods) -> None:
    """`podwright events`, for people and for programs."""
    sandbox = pods.run_sandbox(pods.sandbox_config("shown"))
    container = pods.start(sandbox, "exit 3", name="main")
    pods.exited(container)
    pods.cri.remove_container(container)
    pods.cri.remove_pod_sandbox(sandbox)
    command = [sys.executable, "-m", "podwright", "events", "-r", f"unix://{pods.node.socket}"]

    def until_it_is_gone(*options: str) -> list[str]:
        lines = []
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as shown:
            assert shown.stdout
            for line in shown.stdout:
                if sandbox[:13] in line:
                    lines.append(line.rstrip())
                if sandbox[:13] in line and ("deleted  pod" in line or "DELETED" in line):
                    break
            shown.kill()
        return lines

    texts = [line.split(maxsplit=1)[1] for line in until_it_is_gone()]
    assert texts == [
        f"{word}  pod        test/shown  {sandbox[:13]}" for word in ("created", "started", "stopped", "deleted")
    ]
    whole = [json.loads(line) for line in until_it_is_gone("-o", "json")]
    ended = [event for event in whole if event["containerId"] == container]
    assert [event["containerEventType"] for event in ended][-1] == "CONTAINER_DELETED_EVENT"
    assert ended[2]["containersStatuses"][0]["exitCode"] == 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_pods_and_a_slow_listener(pods: Pods, listener: Listener) -> None:
    """Three listeners hear everything, in the same order, with growing times; a slow one holds nobody up."""
    other, slow = Listener(pods.node), Listener(pods.node, pause=0.006)

    def life(number: int) -> None:
        sandbox = pods.run_sandbox(pods.sandbox_config(f"many-{number}"))
        pods.start(sandbox, "exit 0")
        pods.cri.remove_pod_sandbox(sandbox)

    try:
        count = 500
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(life, range(count)))
        assert len(slow.events) < len(listener.events)
        for one in (listener, other, slow):
            lives = until(functools.partial(_lives, one), lambda lives: len(lives) == 2 * count, seconds=60)
            assert all(
                sorted(life) == sorted(WHOLE_LIFE) and life[0] == CREATED and life[-1] == DELETED
                for life in lives.values()
            )
            times = [event.created_at for event in one.events]
            assert times == sorted(set(times))
        mine = [event.SerializeToString() for event in listener.events if _is_of_many(event)]
        for one in (other, slow):
            assert mine == [event.SerializeToString() for event in one.events if _is_of_many(event)]
    finally:
        other.close()
        slow.close()


def _is_of_many(event: v1.ContainerEventResponse) -> bool:
    return event.pod_sandbox_status.metadata.name.startswith("many-")


def _lives(listener: Listener) -> dict[str, list[v1.ContainerEventType]]:
    """Lives that are over, by id."""
    found: dict[str, list[v1.ContainerEventType]] = collections.defaultdict(list)
    for event in list(listener.events):
        if _is_of_many(event):
            found[event.container_id].append(event.container_event_type)
    return {object_id: life for object_id, life in found.items() if DELETED in life}
