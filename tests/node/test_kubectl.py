"""kubectl against a node: logs, exec, attach and port-forward, through the stand-in for an API server."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.apiserver import ApiServer
from support.kubelet import Kubelet
from support.member import api_pod
from support.pki import Authority
from support.runtimes import IMAGE, KINDS, machine

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]


@dataclass
class Cluster:
    """A machine with a node in a cluster, and a kubectl there."""

    kubelet: Kubelet
    api: ApiServer
    kubeconfig: Path

    def kubectl(self, *words: str, stdin: bytes = b"", check: bool = True) -> str:
        """Runs kubectl; its output."""
        command = self.kubelet.machine.enter(["kubectl", f"--kubeconfig={self.kubeconfig}", *words])
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
        output = done.stdout.decode() + done.stderr.decode()
        assert not check or done.returncode == 0, f"{words}: {output}\n{self.kubelet.log.read_text()[-3000:]}"
        return output


@pytest.fixture(scope="module", params=KINDS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with machine(request.param) as made:
        authority = Authority(tmp_path_factory.mktemp("pki"))
        with ApiServer(authority, port=6443, namespace=f"/proc/{made.machine.holder}/ns/net") as api:
            api.allowed |= {("kube-apiserver", verb, "proxy") for verb in ("get", "create")}
            kubelet = Kubelet(
                made,
                f"--kubeconfig={api.kubeconfig('system:node:n1', 'system:nodes')}",
                f"--client-ca-file={authority.directory}/ca.crt",
                "--node-ip=127.0.0.1",
            )
            kubelet.start()
            kubelet.until(lambda: api.get("nodes", "n1", "") is not None, "the node does not register")
            yield Cluster(kubelet, api, api.kubeconfig("admin", "system:masters"))
            kubelet.end()


@pytest.fixture
def pod(cluster: Cluster) -> Iterator[str]:
    """A running pod that says a line and serves another on port 80."""
    script = (
        "echo begun; mkdir /srv; echo served >/srv/index.html; httpd -f -p 80 -h /srv & "
        "while read line; do echo got $line; done"
    )
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script], "stdin": True}
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
    volumes = [{"name": "access", "projected": {"sources": [token]}}]
    container["volumeMounts"] = [{"name": "access", "mountPath": "/access", "readOnly": True}]
    if cluster.api.get("serviceaccounts", "default") is None:
        cluster.api.create("serviceaccounts", {"metadata": {"name": "default"}})
    cluster.api.create("pods", api_pod("web", containers=[container], volumes=volumes, terminationGracePeriodSeconds=0))
    cluster.kubelet.wait("web", lambda now: now["containerStatuses"][0]["ready"])
    yield "web"
    cluster.api.delete("pods", "web", grace=0)
    cluster.kubelet.gone("web")


def test_logs(cluster: Cluster, pod: str) -> None:
    cluster.kubelet.until(lambda: "begun" in cluster.kubelet.output(pod), "it says nothing")
    assert cluster.kubectl("logs", pod) == "begun\n"
    assert cluster.kubectl("logs", pod, "--timestamps", "--tail=1").endswith("Z begun\n")
    assert cluster.kubectl("logs", pod, "--since=1ns") == ""
    assert "container nosuch is not valid" in cluster.kubectl("logs", pod, "-c", "nosuch", check=False)
    assert "BadRequest" in cluster.kubectl("logs", pod, "-p", check=False)


def test_previous_logs_in_a_crash_loop(cluster: Cluster) -> None:
    """A container that waits to be started again has ended: its last words are the previous ones."""
    script = "echo x >>/kept/runs; echo run $(grep -c x /kept/runs); exit 1"
    kept = {"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script], **kept}
    cluster.api.create("pods", api_pod("crash", containers=[container], volumes=[{"name": "kept", "emptyDir": {}}]))
    cluster.kubelet.wait(
        "crash",
        lambda now: (
            now["containerStatuses"][0]["restartCount"] == 1
            and now["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        ),
    )
    assert cluster.kubectl("logs", "crash") == cluster.kubectl("logs", "crash", "--previous") == "run 2\n"
    cluster.api.delete("pods", "crash", grace=0)


def test_logs_are_followed_to_their_end(cluster: Cluster) -> None:
    script = "for n in 1 2 3; do echo $n; sleep 0.5; done"
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    cluster.api.create("pods", api_pod("count", containers=[container], restartPolicy="Never"))
    cluster.kubelet.wait("count", lambda now: "running" in now["containerStatuses"][0]["state"])
    assert cluster.kubectl("logs", "-f", "count").split() == ["1", "2", "3"]
    cluster.api.delete("pods", "count", grace=0)


@pytest.mark.parametrize("web_sockets", ["true", "false"])
def test_exec(cluster: Cluster, pod: str, web_sockets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", web_sockets)
    assert cluster.kubectl("exec", pod, "--", "echo", "hello") == "hello\n"
    assert cluster.kubectl("exec", "-i", pod, "--", "sh", "-c", "tr a-z A-Z", stdin=b"shout") == "SHOUT"
    output = cluster.kubectl("exec", pod, "--", "sh", "-c", "echo bad >&2; exit 3", check=False)
    assert "bad" in output and "exit code 3" in output
    assert cluster.kubectl("exec", pod, "--", "cat", "/access/token") == "token-of-default-default-for-api-web"


def test_attach(cluster: Cluster, pod: str) -> None:
    # Whether attach ends with its input is the runtime's to say (containerd detaches then).
    command = ["timeout", "5", "kubectl", f"--kubeconfig={cluster.kubeconfig}", "attach", "-i", pod]
    subprocess.run(cluster.kubelet.machine.enter(command), input=b"word\n", capture_output=True, check=False)
    cluster.kubelet.until(lambda: "got word" in cluster.kubelet.output(pod), "the word does not arrive")


def test_port_forward(cluster: Cluster, pod: str) -> None:
    script = f"""
        kubectl --kubeconfig={cluster.kubeconfig} port-forward {pod} 8080:80 >/tmp/forward.$$ 2>&1 & child=$!
        for n in $(seq 100); do grep -q Forwarding /tmp/forward.$$ && break; sleep 0.1; done
        printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc 127.0.0.1 8080; kill $child; rm /tmp/forward.$$
    """
    assert "served" in cluster.kubelet.machine.run("sh", "-c", script)
