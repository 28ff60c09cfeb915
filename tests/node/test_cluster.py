"""A node in a cluster: registration, lease, pods from the API server, status, events, mirrors, deletion."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from podwright.cri import v1
from podwright.errors import Code
from podwright.testing.cri_server import StubServer
from support.member import NODE, Member, api_pod, condition, member

pytest.importorskip("lightkube")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Member]:
    with member(tmp_path) as made:
        yield made


def ready(status: dict[str, Any]) -> str:
    return str(condition(status, "Ready").get("status", ""))


def node(cluster: Member) -> dict[str, Any]:
    found: dict[str, Any] = cluster.api.get("nodes", NODE, "") or {}
    return found


def test_the_node_registers_and_renews_its_lease(cluster: Member) -> None:
    cluster.start("--node-labels=zone=a", "--max-pods=7", "--provider-id=test://1")
    cluster.until(lambda: ready(node(cluster).get("status", {})) == "True")
    made = node(cluster)
    assert made["metadata"]["labels"]["zone"] == "a"
    assert made["metadata"]["labels"]["kubernetes.io/hostname"] == NODE
    assert made["spec"]["providerID"] == "test://1"
    status = made["status"]
    assert status["capacity"]["pods"] == "7" and int(status["capacity"]["cpu"]) >= 1
    assert status["addresses"] == [
        {"type": "InternalIP", "address": "127.0.0.1"},
        {"type": "Hostname", "address": NODE},
    ]
    assert status["nodeInfo"]["containerRuntimeVersion"] == "stub://1.2.3"
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == cluster.port
    assert {item["type"] for item in status["conditions"]} == {"MemoryPressure", "DiskPressure", "PIDPressure", "Ready"}
    lease = cluster.until(lambda: cluster.api.get("leases", NODE, "kube-node-lease"))
    assert lease["spec"]["holderIdentity"] == NODE and lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert {user for user, _, _ in cluster.api.requests} == {f"system:node:{NODE}"}
    told = {"Starting", "NodeReady", "NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"}
    cluster.until(lambda: told <= {event["reason"] for event in cluster.api.all("events")})


def test_connections_notice_that_the_api_server_is_gone(cluster: Member) -> None:
    """A watch waits for ever; only the kernel's keep-alive finds out that nobody is there any more."""
    cluster.start()
    cluster.until(lambda: node(cluster))
    command = ["ss", "--tcp", "--options", "--no-header", "state", "established", f"dport = :{cluster.api.port}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines and all("timer:(keepalive" in line or "timer:(on" in line for line in lines), lines


def test_the_lease_is_renewed(cluster: Member) -> None:
    cluster.start()
    config = cluster.directory / "kubelet.yaml"
    cluster.until(lambda: cluster.api.get("leases", NODE, "kube-node-lease"))
    cluster.end()
    config.write_text(config.read_text() + "nodeLeaseDurationSeconds: 1\n")
    first = cluster.api.get("leases", NODE, "kube-node-lease")
    cluster.start("--node-lease-duration-seconds=1")
    cluster.until(lambda: cluster.api.get("leases", NODE, "kube-node-lease") != first)
    second = cluster.api.get("leases", NODE, "kube-node-lease")
    cluster.until(lambda: cluster.api.get("leases", NODE, "kube-node-lease") != second)


def test_a_pod_lives_and_goes(cluster: Member) -> None:
    cluster.start()
    cluster.until(lambda: node(cluster))
    made = cluster.api.create("pods", api_pod("web"))
    cluster.until(lambda: ready(cluster.pod_status("web")) == "True", "the pod does not get ready")
    status = cluster.pod_status("web")
    assert status["phase"] == "Running" and status["podIP"] == "10.0.0.2" and status["hostIP"] == "127.0.0.1"
    (container,) = status["containerStatuses"]
    assert container["containerID"].startswith("stub://") and container["ready"] and container["restartCount"] == 0
    cluster.until(lambda: {"Pulled", "Created", "Started"} <= {event["reason"] for event in cluster.api.all("events")})
    event = next(event for event in cluster.api.all("events") if event["reason"] == "Started")
    assert event["involvedObject"]["uid"] == made["metadata"]["uid"]
    assert event["involvedObject"]["fieldPath"] == "spec.containers{main}"
    cluster.api.delete("pods", "web")
    cluster.until(lambda: cluster.api.get("pods", "web") is None, "the pod does not go")
    assert not cluster.runtime.sandboxes and not cluster.runtime.containers
    assert not list((cluster.directory / "kubelet" / "pods").iterdir())


def test_graceful_deletion_tells_before_it_deletes(cluster: Member) -> None:
    cluster.start()
    cluster.until(lambda: node(cluster))
    cluster.api.create("pods", api_pod("web", terminationGracePeriodSeconds=30))
    cluster.until(lambda: ready(cluster.pod_status("web")) == "True")
    container = next(iter(cluster.runtime.containers))
    cluster.api.delete("pods", "web")
    cluster.until(lambda: cluster.api.get("pods", "web") is None)
    assert cluster.api.asked("/api/v1/namespaces/default/pods/web/status"), "no status was told"
    assert container not in cluster.runtime.containers
    cluster.until(lambda: "Stopping container main" in {event["message"] for event in cluster.api.all("events")})


def test_a_pod_that_is_done_stays_done(cluster: Member) -> None:
    cluster.start()
    cluster.until(lambda: node(cluster))
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:1", "command": ["fail", "3"]}]}
    cluster.api.create("pods", api_pod("once", **spec))
    cluster.until(lambda: cluster.pod_status("once").get("phase") == "Failed")
    assert cluster.pod_status("once")["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    cluster.end(signal.SIGKILL)
    cluster.runtime.sandboxes.clear()
    cluster.runtime.containers.clear()
    cluster.start()
    marker = cluster.api.create("pods", api_pod("marker"))
    cluster.until(lambda: ready(cluster.pod_status("marker")) == "True")
    assert marker and cluster.pod_status("once")["phase"] == "Failed"
    assert [item.config.metadata.name for item in cluster.runtime.containers.values()] == ["main"]


def test_a_new_agent_keeps_what_is_ready(cluster: Member) -> None:
    cluster.start()
    cluster.until(lambda: node(cluster))
    probe = {"exec": {"command": ["echo"]}, "initialDelaySeconds": 1, "periodSeconds": 1}
    container = {"name": "main", "image": "busybox:1", "command": ["run"], "readinessProbe": probe}
    cluster.api.create("pods", api_pod("web", containers=[container]))
    cluster.until(lambda: ready(cluster.pod_status("web")) == "True")
    before = cluster.api.version
    cluster.end(signal.SIGKILL)
    cluster.start()
    cluster.api.create("pods", api_pod("marker"))
    cluster.until(lambda: ready(cluster.pod_status("marker")) == "True")
    told = cluster.api.changes("pods", "web", before)
    assert all(ready(item["status"]) == "True" for item in told), "it was not ready for a moment"
    assert {item.config.metadata.attempt for item in cluster.runtime.containers.values()} == {0}, "something restarted"


def test_objects_reach_the_container(cluster: Member) -> None:
    cluster.api.create("configmaps", {"metadata": {"name": "settings"}, "data": {"colour": "red"}})
    cluster.api.create("secrets", {"metadata": {"name": "keys"}, "data": {"token": "aHVzaA=="}})
    cluster.api.create(
        "services",
        {
            "metadata": {"name": "kubernetes"},
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "https", "port": 443}]},
        },
    )
    cluster.api.create("runtimeclasses", {"metadata": {"name": "fast"}, "handler": "crun"})
    cluster.start("--cluster-dns=10.0.0.10", "--cluster-domain=cluster.local")
    cluster.until(lambda: node(cluster))
    container = {
        "name": "main",
        "image": "busybox:1",
        "command": ["run"],
        "env": [
            {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        ],
    }
    cluster.api.create("pods", api_pod("web", containers=[container], runtimeClassName="fast"))
    cluster.until(lambda: ready(cluster.pod_status("web")) == "True")
    (made,) = cluster.runtime.containers.values()
    variables = {item.key: item.value.decode() for item in made.config.envs}
    assert variables["COLOUR"] == "red" and variables["TOKEN"] == "hush"
    assert variables["KUBERNETES_SERVICE_HOST"] == "10.0.0.1" and variables["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    (sandbox,) = cluster.runtime.sandboxes.values()
    assert sandbox.status.runtime_handler == "crun"
    assert list(sandbox.config.dns_config.servers) == ["10.0.0.10"]
    assert sandbox.config.dns_config.searches[0] == "default.svc.cluster.local"


def test_a_container_starts_with_what_its_objects_say_now(cluster: Member) -> None:
    """Who changes a secret and restarts its pods does not expect the old one."""
    cluster.api.create("secrets", {"metadata": {"name": "keys"}, "data": {"token": "b2xk"}})
    cluster.start()
    cluster.until(lambda: node(cluster))
    container = {"name": "main", "image": "busybox:1", "envFrom": [{"secretRef": {"name": "keys"}}]}
    cluster.api.create("pods", api_pod("first", containers=[container]))
    cluster.until(lambda: ready(cluster.pod_status("first")) == "True")
    cluster.api.patch("secrets", "keys", {"data": {"token": "bmV3"}})
    cluster.api.create("pods", api_pod("second", containers=[container]))
    cluster.until(lambda: ready(cluster.pod_status("second")) == "True")
    made = [{item.key: item.value for item in found.config.envs} for found in cluster.runtime.containers.values()]
    assert [variables["token"] for variables in made] == [b"old", b"new"]


def test_a_missing_config_map_is_waited_for(cluster: Member) -> None:
    cluster.start()
    cluster.until(lambda: node(cluster))
    container = {"name": "main", "image": "busybox:1", "envFrom": [{"configMapRef": {"name": "late"}}]}
    cluster.api.create("pods", api_pod("web", containers=[container]))

    def waiting() -> str:
        (item,) = cluster.pod_status("web").get("containerStatuses") or [{"state": {}}]
        text: str = item["state"].get("waiting", {}).get("message", "")
        return text

    cluster.until(lambda: 'configmap "late" not found' in waiting())
    cluster.api.create("configmaps", {"metadata": {"name": "late"}, "data": {"a": "b"}})
    cluster.until(lambda: ready(cluster.pod_status("web")) == "True")


def test_an_ephemeral_container(cluster: Member) -> None:
    """As `kubectl debug` makes one: it sees the processes of another, is not started again and does not count."""
    cluster.start()
    cluster.until(lambda: node(cluster))
    cluster.api.create("pods", api_pod("web"))
    cluster.until(lambda: ready(cluster.pod_status("web")) == "True")
    debug = {"name": "debug", "image": "busybox:1", "command": ["run"], "targetContainerName": "main"}
    cluster.api.patch("pods", "web", {"spec": {"ephemeralContainers": [debug]}})

    def state() -> dict[str, Any]:
        (shown,) = cluster.pod_status("web").get("ephemeralContainerStatuses") or [{"state": {}}]
        return dict(shown["state"])

    cluster.until(lambda: "running" in state())
    made = {item.config.metadata.name: item for item in list(cluster.runtime.containers.values())}
    options = made["debug"].config.linux.security_context.namespace_options
    assert (options.pid, options.target_id) == (v1.TARGET, made["main"].status.id)
    cluster.runtime.exit(made["debug"].status.id, 3)
    cluster.until(lambda: state().get("terminated", {}).get("exitCode") == 3)
    cluster.api.create("pods", api_pod("marker"))
    cluster.until(lambda: ready(cluster.pod_status("marker")) == "True")
    assert "terminated" in state() and ready(cluster.pod_status("web")) == "True"


def test_pods_that_cannot_run_here(cluster: Member) -> None:
    cluster.start()
    cluster.until(lambda: node(cluster))
    big = {"name": "main", "image": "busybox:1", "resources": {"requests": {"cpu": "1000"}}}
    cluster.api.create("pods", api_pod("big", containers=[big]))
    cluster.api.create("pods", api_pod("elsewhere", nodeSelector={"zone": "b"}))
    cluster.api.create("pods", api_pod("claiming", volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}]))
    cluster.until(lambda: cluster.pod_status("big").get("reason") == "OutOfcpu")
    assert cluster.pod_status("big")["phase"] == "Failed"
    cluster.until(lambda: cluster.pod_status("elsewhere").get("reason") == "NodeAffinity")
    cluster.until(lambda: "FailedMount" in {event["reason"] for event in cluster.api.all("events")})
    assert not cluster.runtime.sandboxes


def test_static_pods_have_mirrors(cluster: Member) -> None:
    manifests = cluster.directory / "manifests"
    manifests.mkdir()
    manifest = api_pod("proxy")
    (manifests / "proxy.yaml").write_text(yaml.safe_dump(manifest))
    cluster.start(f"--pod-manifest-path={manifests}")
    name = f"proxy-{NODE}"
    cluster.until(lambda: ready(cluster.pod_status(name)) == "True", "the mirror does not get ready")
    mirror = cluster.api.get("pods", name)
    assert mirror is not None
    assert mirror["metadata"]["ownerReferences"][0]["name"] == NODE
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.source"] == "file"
    containers = set(cluster.runtime.containers)
    cluster.api.delete("pods", name, grace=0)
    cluster.until(
        lambda: (cluster.api.get("pods", name) or mirror)["metadata"]["uid"] != mirror["metadata"]["uid"],
        "the mirror is not made again",
    )
    cluster.until(lambda: ready(cluster.pod_status(name)) == "True", "the new mirror does not get ready")
    assert set(cluster.runtime.containers) == containers, "deleting a mirror must not touch the pod"
    manifest["metadata"]["labels"] = {"version": "2"}
    (manifests / "proxy.yaml").write_text(yaml.safe_dump(manifest))
    cluster.until(
        lambda: (cluster.api.get("pods", name) or mirror)["metadata"].get("labels") == {"version": "2"},
        "the mirror is not that of the new file",
    )
    (manifests / "proxy.yaml").unlink()
    cluster.until(lambda: cluster.api.get("pods", name) is None)
    cluster.until(lambda: not cluster.runtime.sandboxes)


def test_a_mirror_that_is_refused_holds_up_no_other(cluster: Member) -> None:
    manifests = cluster.directory / "manifests"
    manifests.mkdir()
    for name, namespace in (("early", "first"), ("late", "default"), ("other", "later")):
        document = api_pod(name)
        document["metadata"]["namespace"] = namespace
        (manifests / f"{name}.yaml").write_text(yaml.safe_dump(document))
    cluster.api.forbidden |= {f"/api/v1/namespaces/{namespace}/pods" for namespace in ("first", "later")}
    cluster.start(f"--pod-manifest-path={manifests}")
    cluster.until(lambda: ready(cluster.pod_status(f"late-{NODE}")) == "True", "the mirror is not made")
    assert [pod["metadata"]["name"] for pod in cluster.api.all("pods")] == [f"late-{NODE}"]


def test_an_api_server_that_goes_away_and_comes_back(cluster: Member) -> None:
    cluster.start()
    cluster.until(lambda: node(cluster))
    cluster.api.create("pods", api_pod("before"))
    cluster.until(lambda: ready(cluster.pod_status("before")) == "True")
    cluster.api.broken = True
    cluster.api.hang_up()
    cluster.api.create("pods", api_pod("meanwhile"))
    containers = set(cluster.runtime.containers)
    cluster.runtime.exit(next(iter(containers)), 1)
    cluster.until(lambda: len(cluster.runtime.containers) == 2, "nobody restarts containers without an API server")
    cluster.api.broken = False
    cluster.until(lambda: ready(cluster.pod_status("meanwhile")) == "True", seconds=40)
    cluster.until(lambda: cluster.pod_status("before")["containerStatuses"][0]["restartCount"] == 1)

    def started() -> int:
        events = [event for event in cluster.api.all("events") if event["involvedObject"]["name"] == "before"]
        return sum(int(event["count"]) for event in events if event["reason"] == "Started")

    cluster.until(lambda: started() == 2, "what happened meanwhile is not told")


def test_a_deleted_node_registers_again(cluster: Member) -> None:
    manifests = cluster.directory / "manifests"
    manifests.mkdir()
    (manifests / "proxy.yaml").write_text(yaml.safe_dump(api_pod("proxy")))
    cluster.start(f"--pod-manifest-path={manifests}", "--node-lease-duration-seconds=1")
    cluster.until(lambda: cluster.api.get("pods", f"proxy-{NODE}"))
    cluster.until(lambda: cluster.api.get("leases", NODE, "kube-node-lease"))
    cluster.until(lambda: ready(node(cluster).get("status", {})) == "True")
    first = node(cluster)["metadata"]["uid"]
    cluster.api.delete("nodes", NODE, "")
    cluster.until(lambda: node(cluster) and node(cluster)["metadata"]["uid"] != first, "the node does not come back")
    again = node(cluster)["metadata"]["uid"]

    def owner(plural: str, name: str, namespace: str) -> str:
        found = cluster.api.get(plural, name, namespace) or {"metadata": {}}
        return next((str(item["uid"]) for item in found["metadata"].get("ownerReferences", ())), "")

    cluster.until(lambda: owner("pods", f"proxy-{NODE}", "default") == again, "the mirror does not come back")
    cluster.until(lambda: owner("leases", NODE, "kube-node-lease") == again, "the lease does not come back")


def test_the_node_tells_that_its_runtime_is_not_ready(alone: Member) -> None:
    with alone.api, StubServer(alone.socket, alone.runtime) as server:
        alone.start()
        alone.until(lambda: ready(node(alone).get("status", {})) == "True")
        alone.runtime.network_ready = False
        alone.until(lambda: ready(node(alone)["status"]) == "False", "the node stays ready")
        message = next(item["message"] for item in node(alone)["status"]["conditions"] if item["type"] == "Ready")
        assert "NetworkReady=false" in message
        alone.until(lambda: "NodeNotReady" in {event["reason"] for event in alone.api.all("events")})
        assert server.paths
        alone.end()


def test_a_probe_that_cannot_be_carried_out_says_nothing(alone: Member) -> None:
    """Or a runtime that is away for a moment would have its containers restarted when it comes back."""
    with alone.api, StubServer(alone.socket, alone.runtime) as server:
        alone.runtime.add_image("busybox:1")
        alone.start()
        probe = {"exec": {"command": ["echo"]}, "periodSeconds": 1, "failureThreshold": 1}
        container = {"name": "main", "image": "busybox:1", "command": ["run"]}
        probed = {**container, "livenessProbe": probe, "readinessProbe": probe}
        alone.api.create("pods", api_pod("web", containers=[probed]))
        alone.until(lambda: ready(alone.pod_status("web")) == "True")
        before = alone.api.version
        server.fail("ExecSync", Code.UNAVAILABLE, "away")
        words = "probe errored and resulted in unknown state: command failed: away"

        def errored() -> set[str]:
            return {event["message"] for event in alone.api.all("events") if words in event["message"]}

        alone.until(lambda: errored() == {f"Liveness {words}", f"Readiness {words}"})
        server.heal("ExecSync")
        asked = len(server.paths)
        alone.until(lambda: any(path.endswith("/ExecSync") for path in server.paths[asked:]))
        assert all(ready(item["status"]) == "True" for item in alone.api.changes("pods", "web", before))
        assert {item.config.metadata.attempt for item in alone.runtime.containers.values()} == {0}, "it was restarted"
        alone.end()


def test_nothing_is_registered_without_a_common_version(alone: Member) -> None:
    with alone.api, StubServer(alone.socket, alone.runtime, runtime_versions=(), image_versions=()):
        alone.start()
        assert alone.process is not None
        assert alone.process.wait(timeout=60) == 1
        alone.process = None
        assert "validate service connection" in alone.log.read_text()
        assert "serves neither CRI v1 nor CRI v1alpha2" in alone.log.read_text()
        assert alone.api.requests == []


@pytest.mark.parametrize("code", [Code.UNIMPLEMENTED, Code.INTERNAL])
def test_a_runtime_that_does_not_tell_its_cgroup_driver(alone: Member, code: Code) -> None:
    """UNIMPLEMENTED is an older runtime; anything else is tried three times, and then the process ends."""
    with alone.api, StubServer(alone.socket, alone.runtime) as server:
        server.fail("RuntimeConfig", code, "boom")
        alone.start()
        assert alone.process is not None
        if code is Code.UNIMPLEMENTED:
            alone.until(lambda: node(alone))
            alone.end()
            return
        assert alone.process.wait(timeout=60) == 1
        alone.process = None
        assert sum(path.endswith("/RuntimeConfig") for path in server.paths) == 3
        assert alone.api.requests == []
