"""What the cAdvisor inside a kubelet asks: with the answers /metrics/cadvisor has the containers' names."""

import json
from typing import Any

import grpc
import pytest

from podwright.cadvisor import v1
from podwright.cadvisor.methods import SERVICES
from podwright.cri import v1 as cri
from support.cri import IMAGE, Pods, host_network

pytestmark = pytest.mark.root

VERSION, CONTAINERS, TASKS = SERVICES


def ask(pods: Pods, service: str, **fields: Any) -> Any:
    """The service's one RPC, as cAdvisor calls it. Raises grpc.RpcError."""
    (rpc,) = SERVICES[service]
    with grpc.insecure_channel(f"unix:{pods.node.socket}") as channel:
        call: Any = channel.unary_unary(
            f"/{service}/{rpc.name}", rpc.request.SerializeToString, rpc.response.FromString
        )
        return call(rpc.request(**fields), timeout=30, metadata=[("containerd-namespace", "k8s.io")])


def refusal(pods: Pods, service: str, **fields: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as failure:
        ask(pods, service, **fields)
    code = failure.value.code()
    assert isinstance(code, grpc.StatusCode)
    return code


def test_somebody_is_there(pods: Pods) -> None:
    assert ask(pods, VERSION).version


def test_a_cgroup_gets_the_names_of_its_pod(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox()
    labels = {"io.kubernetes.pod.name": "web", "io.kubernetes.container.name": "c"}
    container_id = pods.start(sandbox_id, pods.container_config(labels=labels))
    cgroup = pods.info(container_id)["cgroup"]
    assert container_id in cgroup.rsplit("/", 1)[-1], "where cAdvisor looks for the id"
    container = ask(pods, CONTAINERS, id=container_id).container
    assert container.id == container_id
    assert dict(container.labels) == {**labels, "io.cri-containerd.kind": "container"}
    assert container.image == IMAGE
    assert json.loads(container.spec.value)["process"]["env"]
    process = ask(pods, TASKS, container_id=container_id).process
    assert (process.pid, process.status) == (pods.info(container_id)["pid"], v1.RUNNING)

    pods.cri.stop_container(container_id, timeout=0)
    process = ask(pods, TASKS, container_id=container_id).process
    assert (process.status, process.exit_status) == (v1.STOPPED, 137)
    pods.cri.remove_container(container_id)
    assert refusal(pods, CONTAINERS, id=container_id) is grpc.StatusCode.NOT_FOUND
    assert refusal(pods, TASKS, container_id=container_id) is grpc.StatusCode.NOT_FOUND


def test_a_created_container_has_a_process(pods: Pods) -> None:
    container_id = pods.create(pods.run_sandbox())
    assert ask(pods, TASKS, container_id=container_id).process.status == v1.CREATED


def test_process_1_of_a_pod_tells_of_its_network(pods: Pods) -> None:
    security = host_network(pid=cri.POD)
    config = pods.sandbox_config(linux=cri.LinuxPodSandboxConfig(security_context=security), labels={"a": "b"})
    sandbox_id = pods.run_sandbox(config)
    sandbox = ask(pods, CONTAINERS, id=sandbox_id).container
    assert dict(sandbox.labels) == {"a": "b", "io.cri-containerd.kind": "sandbox"}
    process = ask(pods, TASKS, container_id=sandbox_id).process
    assert process.status == v1.RUNNING
    assert process.pid


def test_a_sandbox_without_a_process_has_no_task(pods: Pods) -> None:
    sandbox_id = pods.run_sandbox()
    assert ask(pods, CONTAINERS, id=sandbox_id).container.labels["io.cri-containerd.kind"] == "sandbox"
    assert refusal(pods, TASKS, container_id=sandbox_id) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("wrong", ["", "f" * 64])
def test_ids_are_not_guessed(pods: Pods, wrong: str) -> None:
    pods.start(pods.run_sandbox())
    assert refusal(pods, CONTAINERS, id=wrong) is grpc.StatusCode.NOT_FOUND
    assert refusal(pods, TASKS, container_id=wrong) is grpc.StatusCode.NOT_FOUND
