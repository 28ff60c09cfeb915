"""`podwright start`, `update`, `checkpoint` and `metrics`, as people type them, on a node."""

import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from podwright.cri import v1
from support.cri import Pods

pytestmark = pytest.mark.root


def run(pods: Pods, command: str, *arguments: str, status: int = 0) -> str:
    words = pods.node.enter(
        [sys.executable, "-m", "podwright", command, "-r", f"unix://{pods.node.socket}", *arguments]
    )
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stdout
    return done.stdout


def test_start_what_is_created(pods: Pods) -> None:
    sandbox = pods.run_sandbox(pods.sandbox_config("held"))
    first, second = pods.create(sandbox, name="first"), pods.create(sandbox, name="second")
    assert run(pods, "start", "held/first") == "test/held/first\n"
    assert pods.status(first).state == v1.CONTAINER_RUNNING
    assert pods.status(second).state == v1.CONTAINER_CREATED
    assert run(pods, "start", "held") == "test/held/second\n"
    assert pods.status(second).state == v1.CONTAINER_RUNNING
    assert "no container that was created and not started" in run(pods, "start", "held", status=1)


def test_update_changes_what_is_named_and_nothing_else(pods: Pods) -> None:
    limits = v1.LinuxContainerResources(memory_limit_in_bytes=64 << 20, cpu_period=100_000, cpu_quota=50_000)
    alone = v1.LinuxContainerSecurityContext(namespace_options=v1.NamespaceOption(pid=v1.CONTAINER))
    linux = v1.LinuxContainerConfig(resources=limits, security_context=alone)
    container = pods.start(pods.run_sandbox(), name="c", linux=linux)
    name = run(pods, "update", container, "--cpus", "250m").strip()
    assert name.endswith("/c")
    now = pods.status(container).resources.linux
    assert (now.cpu_quota, now.cpu_period, now.memory_limit_in_bytes) == (25_000, 100_000, 64 << 20)
    run(pods, "update", "c", "--memory", "96Mi", "--cpu-shares", "512", "--cpuset-cpus", "0")
    now = pods.status(container).resources.linux
    assert (now.cpu_quota, now.memory_limit_in_bytes, now.cpu_shares) == (25_000, 96 << 20, 512)
    assert now.cpuset_cpus == "0"
    assert "101 MB" in run(pods, "top", "c"), "the new limit is shown"
    run(pods, "update", "c", "--cpus", "max", "--memory", "max")
    now = pods.status(container).resources.linux
    assert (now.cpu_quota, now.memory_limit_in_bytes) == (-1, -1)
    assert "101 MB" not in run(pods, "top", "c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one limit"),
        (["--cpus", "0"], '"max" lifts it'),
        (["--cpus", "much"], '--cpus: "much" is no quantity'),
        (["--memory", "-1"], "negative"),
        (["--cpuset-cpus", "zero"], 'cpuset_cpus: "zero" is no list'),
    ],
)
def test_update_refuses_what_is_no_limit(pods: Pods, arguments: list[str], message: str) -> None:
    pods.start(pods.run_sandbox(), name="c")
    assert message in run(pods, "update", "c", *arguments, status=2)


def test_checkpoints_that_cannot_be_leave_nothing(pods: Pods) -> None:
    """The default handler is crun, which Debian builds without criu; what works is in test_checkpoint.py."""
    sandbox = pods.run_sandbox(pods.sandbox_config("frozen"))
    directory = pods.node.directory / "checkpoint"
    assert "no container of pod" in run(pods, "checkpoint", "frozen", str(directory), status=1)
    pods.start(sandbox, name="c")
    assert "crun" in run(pods, "checkpoint", "frozen", str(directory), status=1)
    assert "crun" in run(pods, "checkpoint", "c", str(directory / "c.tar"), status=1)
    assert not directory.exists()
    assert "cannot be made" in run(pods, "checkpoint", "frozen", "/no/where", status=1)


def test_metrics_are_what_prometheus_reads(pods: Pods) -> None:
    pods.start(pods.run_sandbox(pods.sandbox_config("one")), name="first")
    pods.start(pods.run_sandbox(pods.sandbox_config("two")), name='sec"ond')
    families = {family.name: family for family in text_string_to_metric_families(run(pods, "metrics"))}
    usage = families["container_memory_working_set_bytes"]
    assert usage.type == "gauge"
    assert usage.documentation
    of = {sample.labels["container"]: sample for sample in usage.samples if sample.labels["container"]}
    assert of["first"].labels["pod"] == "one"
    assert of["first"].labels["namespace"] == "test"
    assert of["first"].value > 0
    assert families["container_cpu_usage_seconds"].type == "counter"
    only = text_string_to_metric_families(run(pods, "metrics", "two"))
    assert {sample.labels["pod"] for family in only for sample in family.samples} == {"two"}
