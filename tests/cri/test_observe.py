"""The daemon seen from outside: metrics, traces, timelines, its state on a signal; on a node of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from podwright.cri import v1
from podwright.cri.methods import METHODS
from podwright.errors import NotFound, Unavailable
from support import collector as collector_program
from support.cri import Pods, until
from support.node import Node, node

pytestmark = pytest.mark.root

ADDRESS = "127.0.0.1:9477"
COLLECTOR_PORT = 4318
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(scope="module")
def observed() -> Iterator[Pods]:
    """A node whose daemon shows all of itself, with a collector of traces that keeps what it gets in files."""
    with node() as made:
        made.write_config(f'[observe]\naddress = "{ADDRESS}"\ntraces = "http://127.0.0.1:{COLLECTOR_PORT}/v1/traces"')
        made.environment["OTEL_BSP_SCHEDULE_DELAY"] = "200"
        collector = subprocess.Popen(
            made.enter(
                [sys.executable, collector_program.__file__, str(COLLECTOR_PORT), str(made.directory / "traces")]
            )
        )
        made.start()
        pods = Pods(made)
        pods.load_image()
        yield pods
        pods.remove_all()
        pods.close()
        assert made.stop() == 0
        assert "Traceback" not in made.log.read_text()
    collector.wait(timeout=30)


def get(machine: Node, path: str) -> str:
    """A page of the daemon's HTTP server."""
    script = f"import urllib.request as u; print(u.urlopen('http://{ADDRESS}{path}', timeout=20).read().decode())"
    return machine.run(sys.executable, "-c", script)


def value(page: str, sample: str) -> float:
    """A sample on the page of metrics; 0 if it is not there."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_metrics(observed: Pods) -> None:
    before = get(observed.node, "/metrics")
    sandbox = observed.run_sandbox(observed.networked_config("metered"))
    container = observed.start(sandbox, linux=v1.LinuxContainerConfig())
    observed.exec(container, "true")
    with pytest.raises(NotFound):
        observed.cri.container_status("no-such-container")
    page = get(observed.node, "/metrics")

    def grown(sample: str) -> float:
        return value(page, sample) - value(before, sample)

    for method in ("RunPodSandbox", "CreateContainer", "StartContainer", "ExecSync"):
        assert grown(f'podwright_rpc_seconds_count{{code="OK",method="{method}"}}') == 1
    assert grown('podwright_rpc_seconds_count{code="NOT_FOUND",method="ContainerStatus"}') == 1
    for stage in ("network.add", "container.create", "container.start", "container.exec"):
        assert grown(f'podwright_stage_seconds_count{{stage="{stage}"}}') == 1
    assert grown('podwright_stage_seconds_sum{stage="container.create"}') > 0
    assert grown('podwright_events_total{type="CONTAINER_STARTED_EVENT"}') == 2
    assert value(page, 'podwright_containers{phase="running"}') == 1
    assert value(page, 'podwright_sandboxes{phase="ready"}') == 1
    assert value(page, "podwright_images") == 1
    assert value(page, "process_resident_memory_bytes") > 10 << 20
    assert value(page, 'podwright_rpcs_running{method="RunPodSandbox"}') == 0

    observed.cri.remove_pod_sandbox(sandbox)
    after = get(observed.node, "/metrics")
    assert value(after, 'podwright_stage_seconds_count{stage="network.del"}') >= 1
    assert value(after, 'podwright_containers{phase="running"}') == 0
    until(lambda: value(get(observed.node, "/metrics"), "podwright_loop_lag_seconds_count"), bool)


def test_other_pages(observed: Pods) -> None:
    assert json.loads(get(observed.node, "/pulls")) == []
    assert get(observed.node, "/healthz") == "ok\n\n"
    assert "there is:\n/metrics\n" in observed.node.run(
        sys.executable,
        "-c",
        "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9477); c.request('GET', '/');"
        "r = c.getresponse(); print(r.status, r.read().decode())",
    )
    assert "podwright/core/tidy.py" in get(observed.node, "/debug/tasks")


def test_a_pull_under_way(observed: Pods) -> None:
    """A registry that takes its time: the page says how far the pull is, and so do the metrics."""
    wait = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 5555)); print('up', flush=True); time.sleep(1000)"
    )
    image = v1.ImageSpec(image="127.0.0.1:5555/slow:1")
    with (
        subprocess.Popen(observed.node.enter([sys.executable, "-c", wait]), stdout=subprocess.PIPE) as registry,
        grpc.insecure_channel(f"unix:{observed.node.socket}") as channel,
    ):
        assert registry.stdout
        assert registry.stdout.readline() == b"up\n"
        method = METHODS["PullImage"]
        call = channel.unary_unary(method.path("v1"), method.request.SerializeToString, method.response.FromString)
        pending = call.future(v1.PullImageRequest(image=image))
        (pull,) = until(lambda: json.loads(get(observed.node, "/pulls")), bool)
        assert pull["reference"] == image.image
        assert pull["layers"] == []
        assert value(get(observed.node, "/metrics"), "podwright_pulls_running") == 1
        pending.cancel()
        until(lambda: json.loads(get(observed.node, "/pulls")), lambda pulls: pulls == [])
        registry.kill()


def test_sigusr1_shows_what_everybody_waits_for(observed: Pods) -> None:
    sandbox = observed.run_sandbox()
    container = observed.start(sandbox)
    address = f"unix:{observed.node.socket}"
    with grpc.insecure_channel(address) as channel:
        method = METHODS["ExecSync"]
        call = channel.unary_unary(method.path("v1"), method.request.SerializeToString, method.response.FromString)
        pending = call.future(v1.ExecSyncRequest(container_id=container, cmd=["sleep", "999"]))
        until(observed.node.processes, lambda found: "sleep 999" in found)
        mark = len(observed.node.log.read_text())
        os.kill(observed.node.daemon, signal.SIGUSR1)
        text = until(lambda: observed.node.log.read_text()[mark:], lambda text: "thread podwright-store" in text)
        pending.cancel()
    assert re.search(r"kernel/run\.py:\d+ run\n", text)
    assert "server/container_exec_sync.py" in text


def spans(machine: Node) -> list[Span]:
    """All spans that the collector has got."""
    found = []
    for file in sorted((machine.directory / "traces").glob("*")):
        request = ExportTraceServiceRequest.FromString(file.read_bytes())
        found += [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return found


def test_traces(observed: Pods) -> None:
    """A span for the RPC, below the client's own; in it those of its stages, also of those on other threads."""
    method = METHODS["RunPodSandbox"]
    config = observed.networked_config("traced")
    with grpc.insecure_channel(f"unix:{observed.node.socket}") as channel:
        call = channel.unary_unary(method.path("v1"), method.request.SerializeToString, method.response.FromString)
        call(v1.RunPodSandboxRequest(config=config), metadata=(("traceparent", f"00-{TRACE}-{PARENT}-01"),), timeout=60)

    def of_trace() -> dict[str, Span]:
        return {span.name: span for span in spans(observed.node) if span.trace_id.hex() == TRACE}

    found = until(of_trace, lambda found: "RunPodSandbox" in found)
    rpc = found["RunPodSandbox"]
    assert rpc.parent_span_id.hex() == PARENT
    for name in ("sandbox.files", "sandbox.namespaces", "sandbox.network", "network.add"):
        assert found[name].parent_span_id == rpc.span_id
        assert rpc.start_time_unix_nano <= found[name].start_time_unix_nano
        assert found[name].end_time_unix_nano <= rpc.end_time_unix_nano


def test_a_failure_in_traces(observed: Pods) -> None:
    with pytest.raises(NotFound):
        observed.cri.pod_sandbox_status("no-such-sandbox")
    failed = until(
        lambda: [span for span in spans(observed.node) if span.name == "PodSandboxStatus" and span.status.code == 2],
        bool,
    )
    assert failed[-1].status.message == "NOT_FOUND"


def timeline(pods: Pods, sandbox: str) -> list[dict[str, Any]]:
    """What a verbose status tells of a sandbox's life."""
    told = json.loads(pods.cri.pod_sandbox_status(sandbox, verbose=True).info["info"])["timeline"]
    assert isinstance(told, list)
    return told


def test_timeline(observed: Pods) -> None:
    config = observed.networked_config("timed")
    begun = time.time_ns()
    sandbox = observed.run_sandbox(config)
    with pytest.raises(Unavailable):
        observed.cri.pull_image(v1.ImageSpec(image="127.0.0.1:1/none:1"), sandbox_config=config)
    container = observed.start(sandbox, name="main", linux=v1.LinuxContainerConfig())
    stages = {stage["stage"]: stage for stage in timeline(observed, sandbox)}
    assert {"sandbox.files", "sandbox.namespaces", "sandbox.network", "sandbox.infra"} <= stages.keys()
    assert "127.0.0.1:1" in stages["sandbox.image"]["error"]
    for stage in stages.values():
        assert begun < stage["startedAt"] < time.time_ns()
        assert 0 <= stage["seconds"] < 60
    mine = [stage["stage"] for stage in observed.info(container)["timeline"]]
    assert mine == ["container.rootfs", "container.spec", "container.create", "container.start"]

    command = [sys.executable, "-m", "podwright", "inspect", "--timeline", "-r", f"unix://{observed.node.socket}"]
    shown = subprocess.run([*command, "timed"], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0][:2] == ["test/timed", "from"]
    assert ["sandbox.network", "pod"] in [line[:2] for line in lines]
    assert ["container.create", "main"] in [line[:2] for line in lines]
    alone = subprocess.run([*command, "timed/main"], capture_output=True, text=True, check=True).stdout
    assert "container.start" in alone
    assert "sandbox.files" not in alone


def test_a_timeline_survives_the_daemon(observed: Pods) -> None:
    sandbox = observed.run_sandbox()
    before = timeline(observed, sandbox)
    assert before
    observed.node.stop()
    observed.node.start()
    assert timeline(observed, sandbox) == before
    observed.cri.remove_pod_sandbox(sandbox)
