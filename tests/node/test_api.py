"""The kubelet's HTTPS API: who is let in, and what is answered."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.member import Member, api_pod, member
from support.pki import Authority


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Member]:
    with member(tmp_path_factory.mktemp("api")) as made:
        made.api.tokens = {"good": ("reader", ["readers"]), "weak": ("nobody", [])}
        made.api.allowed = {("reader", "get", "proxy"), ("reader", "get", "stats"), ("scraper", "get", "metrics")}
        made.start()
        made.until(lambda: made.api.get("nodes", "n1", ""))
        made.api.create("pods", api_pod("web"))
        made.until(lambda: made.pod_status("web").get("phase") == "Running")
        yield made


def ask(
    cluster: Member, path: str, *, token: str = "", certificate: tuple[Path, Path] | None = None, method: str = "GET"
) -> tuple[int, str]:
    """Status and body of a request."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(*certificate)
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.port, context=context, timeout=10)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_nobody_is_let_in_without_credentials(cluster: Member) -> None:
    for path in ("/pods", "/healthz", "/metrics", "/exec/default/web/main?command=id", "/nosuch"):
        assert ask(cluster, path) == (401, "Unauthorized")
    assert ask(cluster, "/pods", token="unknown")[0] == 401


def test_a_token_is_reviewed_and_so_is_access(cluster: Member) -> None:
    assert ask(cluster, "/pods", token="good")[0] == 200
    status, body = ask(cluster, "/pods", token="weak")
    assert status == 403
    assert body == "Forbidden (user=nobody, verb=get, resource=nodes, subresource(s)=['pods', 'proxy'])"
    assert ask(cluster, "/metrics", token="good")[0] == 403, "metrics are another subresource"
    assert ask(cluster, "/stats/summary", token="good")[0] == 200
    assert ask(cluster, "/run/default/web/main?cmd=id", token="good", method="POST")[0] == 403, "create is another verb"
    reviews = [path for _, _, path in cluster.api.requests if path.endswith("tokenreviews")]
    for _ in range(5):
        ask(cluster, "/pods", token="good")
    again = [path for _, _, path in cluster.api.requests if path.endswith("tokenreviews")]
    assert len(again) == len(reviews), "answers are kept for a while"


def test_a_certificate_is_a_user(cluster: Member, tmp_path: Path) -> None:
    assert ask(cluster, "/metrics", certificate=cluster.authority.issue("scraper"))[0] == 200
    assert ask(cluster, "/metrics", certificate=cluster.authority.issue("stranger"))[0] == 403
    forged = Authority(tmp_path / "other").issue("scraper")
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        ask(cluster, "/metrics", certificate=forged)


def test_pods_are_shown_with_their_status(cluster: Member) -> None:
    listed = json.loads(ask(cluster, "/pods", token="good")[1])
    assert listed["kind"] == "PodList"
    (pod,) = listed["items"]
    assert pod["metadata"]["name"] == "web" and pod["status"]["phase"] == "Running"
    assert len(json.loads(ask(cluster, "/runningpods/", token="good")[1])["items"]) == 1


def test_healthz(cluster: Member) -> None:
    assert ask(cluster, "/healthz", token="good") == (200, "ok")


def test_summary(cluster: Member) -> None:
    summary: dict[str, Any] = json.loads(ask(cluster, "/stats/summary", token="good")[1])
    assert summary["node"]["nodeName"] == "n1" and summary["node"]["memory"]["workingSetBytes"] > 0
    assert summary["node"]["fs"]["capacityBytes"] > 0 and summary["node"]["runtime"]["imageFs"]["usedBytes"] >= 0
    (pod,) = summary["pods"]
    assert pod["podRef"]["name"] == "web"
    (container,) = pod["containers"]
    assert container["name"] == "main" and container["memory"]["workingSetBytes"] == 5 << 20
    assert container["rootfs"]["usedBytes"] == 4096
    only = json.loads(ask(cluster, "/stats/summary?only_cpu_and_memory=true", token="good")[1])
    assert "fs" not in only["node"] and "rootfs" not in only["pods"][0]["containers"][0]


def test_resource_metrics_are_those_of_the_kubelet(cluster: Member) -> None:
    status, text = ask(cluster, "/metrics/resource", certificate=cluster.authority.issue("scraper"))
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    labels = {"container": "main", "namespace": "default", "pod": "web"}
    memory = families["container_memory_working_set_bytes"].samples[0]
    assert memory.labels == labels and memory.value == 5 << 20
    assert families["container_cpu_usage_seconds"].samples[0].name == "container_cpu_usage_seconds_total"
    for name in ("pod_memory_working_set_bytes", "node_memory_working_set_bytes", "resource_scrape_error"):
        assert families[name].samples
    assert families["resource_scrape_error"].samples[0].value == 0


def test_a_runtime_that_measures_nothing(cluster: Member) -> None:
    assert ask(cluster, "/metrics/cadvisor", certificate=cluster.authority.issue("scraper"))[0] == 501


def test_own_metrics(cluster: Member) -> None:
    text = ask(cluster, "/metrics", certificate=cluster.authority.issue("scraper"))[1]
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["kubelet_running_pods"].samples[0].value == 1
    running = [s for s in families["kubelet_running_containers"].samples if s.labels["container_state"] == "running"]
    assert running[0].value == 1


def test_logs_of_a_container(cluster: Member) -> None:
    container = next(iter(cluster.runtime.containers))
    cluster.runtime.write(container, "a line")
    cluster.runtime.write(container, "an error", "stderr")
    base = "/containerLogs/default/web/main"
    assert ask(cluster, base, token="good") == (200, "a line\nan error\n")
    assert ask(cluster, f"{base}?stream=Stderr", token="good")[1] == "an error\n"
    assert ask(cluster, f"{base}?tailLines=1", token="good")[1] == "an error\n"
    assert ask(cluster, f"{base}?limitBytes=3", token="good")[1] == "a l"
    assert ask(cluster, f"{base}?tailLines=x", token="good")[0] == 400
    assert ask(cluster, f"{base}?previous=true", token="good")[0] == 400
    assert ask(cluster, "/containerLogs/default/web/other", token="good")[0] == 404
    assert ask(cluster, "/containerLogs/default/other/main", token="good")[0] == 404


def test_wrong_requests_get_a_status(cluster: Member) -> None:
    assert ask(cluster, "/nosuch", token="good")[0] == 404
    assert ask(cluster, "/exec/default/web/main", token="good") == (400, "a command is needed")
    assert ask(cluster, "/exec/default/web/main?command=id", token="good")[0] == 400
    assert ask(cluster, "/portForward/default/web?port=99999", token="good")[0] == 400
    status, body = ask(cluster, "/exec/default/web/main?command=id&output=1", token="good")
    assert status == 500 and "Exec" in body, "this runtime cannot exec"


def test_what_is_not_http_does_no_harm(cluster: Member) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for junk in (b"\0\1\2\3\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100_000, b""):
        with socket.create_connection(("127.0.0.1", cluster.port)) as raw, context.wrap_socket(raw) as secure:
            secure.sendall(junk)
            secure.shutdown(socket.SHUT_WR) if not junk else None
    with socket.create_connection(("127.0.0.1", cluster.port)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert ask(cluster, "/healthz", token="good")[0] == 200
    assert "this is a defect" not in cluster.log.read_text()
