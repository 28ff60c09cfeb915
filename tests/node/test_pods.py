"""What pods can do on a node, on Podwright and on containerd. docs/node.md has the table of features."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from support.kubelet import Kubelet, Predicate, condition, main_status, pod
from support.runtimes import IMAGE

pytestmark = [pytest.mark.root, pytest.mark.slow]

FLAGS = [
    "--container-log-max-size=8Ki",
    "--container-log-max-files=3",
    "--container-log-monitor-interval=1s",
    "--sync-frequency=4s",
]
ROOT = Path(__file__).resolve().parents[2]


def done(kubelet: Kubelet, name: str, *documents: dict[str, Any] | str) -> str:
    """Runs a pod to its good end; what its container has written."""
    kubelet.put(name, *documents)
    kubelet.wait(name, "Succeeded")
    output = kubelet.output(name)
    kubelet.drop(name)
    return output


def test_examples_run(kubelet: Kubelet) -> None:
    names = ["hello", "init", "limits", "volume"]
    for name in names:
        kubelet.put(name, (ROOT / f"examples/{name}.yaml").read_text())
    kubelet.wait("hello", lambda status: condition(status, "Ready") == "True")
    for name in names[1:]:
        kubelet.wait(name, "Succeeded")
    assert "prepared by init-n1" in kubelet.output("init")
    assert "memory limit: 33554432 bytes, CPU limit: 250" in kubelet.output("limits")
    assert kubelet.output("volume", "reader").splitlines()[-1] == "good morning, number 3"
    kubelet.until(lambda: "hello from hello-n1" in kubelet.output("hello", "client"), "the client gets no answer")
    for name in names:
        kubelet.drop(name)
    for name in names:
        kubelet.gone(name)


def test_init_containers_and_sidecars(kubelet: Kubelet) -> None:
    def container(name: str, script: str, **more: Any) -> dict[str, Any]:
        mount = [{"name": "work", "mountPath": "/work"}]
        return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mount, **more}

    spec = {
        "volumes": [{"name": "work", "emptyDir": {}}],
        "initContainers": [
            container("first", "echo first >>/work/order"),
            container(
                "sidecar",
                "echo sidecar >>/work/order; touch /work/up; trap 'exit 0' TERM; sleep 1000 & wait",
                restartPolicy="Always",
                startupProbe={"exec": {"command": ["cat", "/work/up"]}, "periodSeconds": 1},
            ),
            container("second", "[ -e /work/up ] && echo second >>/work/order"),
        ],
        "containers": [container("main", "cat /work/order")],
    }
    kubelet.put("init-order", pod("init-order", spec=spec))
    status = kubelet.wait("init-order", "Succeeded")
    assert kubelet.output("init-order").split() == ["first", "sidecar", "second"]
    states = {item["name"]: item["state"] for item in status["initContainerStatuses"]}
    assert states["first"]["terminated"]["exitCode"] == 0
    kubelet.wait("init-order", lambda now: "terminated" in now["initContainerStatuses"][1]["state"])
    kubelet.drop("init-order")
    kubelet.gone("init-order")


def test_a_failing_init_container_fails_a_pod_that_is_not_restarted(kubelet: Kubelet) -> None:
    init = {"name": "bad", "image": IMAGE, "command": ["sh", "-c", "exit 7"]}
    kubelet.put("bad-init", pod("bad-init", "true", spec={"initContainers": [init]}))
    status = kubelet.wait("bad-init", "Failed")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    assert "waiting" in main_status(status)["state"]
    kubelet.drop("bad-init")


def test_restart_policies(kubelet: Kubelet) -> None:
    kubelet.put("always", pod("always", "exit 0", spec={"restartPolicy": "Always"}))
    kubelet.put("onfailure", pod("onfailure", "exit 3", spec={"restartPolicy": "OnFailure"}))
    kubelet.put("never", pod("never", "exit 4"))
    for name in ("always", "onfailure"):
        status = kubelet.wait(
            name, lambda now: main_status(now)["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        )
        assert main_status(status)["restartCount"] == 1, "the first restart is at once, the second waits ten seconds"
        assert "back-off 10s restarting failed container=main" in main_status(status)["state"]["waiting"]["message"]
        assert status["phase"] == "Running"
    assert main_status(status)["lastState"]["terminated"]["exitCode"] == 3
    status = kubelet.wait("never", "Failed")
    assert main_status(status)["restartCount"] == 0
    for name in ("always", "onfailure", "never"):
        kubelet.drop(name)


def test_liveness_restarts_and_readiness_tells(kubelet: Kubelet) -> None:
    script = "touch /tmp/alive; sleep 2; touch /tmp/ready; sleep 2; rm /tmp/alive /tmp/ready; sleep 1000"
    probes = {
        "livenessProbe": {
            "exec": {"command": ["ls", "/tmp/alive"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
            "initialDelaySeconds": 1,
        },
        "readinessProbe": {"exec": {"command": ["ls", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1},
    }
    kubelet.put("alive", pod("alive", script, spec={"restartPolicy": "Always"}, **probes))
    kubelet.wait("alive", lambda now: main_status(now)["state"].get("running") and not main_status(now)["ready"])
    kubelet.wait("alive", lambda now: condition(now, "Ready") == "True")
    status = kubelet.wait("alive", lambda now: main_status(now)["restartCount"] == 1)
    assert "Liveness probe failed" in kubelet.log.read_text()
    assert "Container main failed liveness probe, will be restarted" in kubelet.log.read_text()
    kubelet.drop("alive")
    assert status


def test_http_and_tcp_probes(kubelet: Kubelet) -> None:
    script = "mkdir -p /srv && echo ok >/srv/index.html && sleep 1 && exec httpd -f -p 8080 -h /srv"
    probes = {
        "ports": [{"name": "web", "containerPort": 8080}],
        "startupProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 20},
        "readinessProbe": {"httpGet": {"port": "web", "path": "/index.html"}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"port": 8080, "path": "/missing"}, "periodSeconds": 1, "failureThreshold": 3},
    }
    kubelet.put("web", pod("web", script, spec={"restartPolicy": "Always"}, **probes))
    kubelet.wait("web", lambda now: condition(now, "Ready") == "True")
    kubelet.wait("web", lambda now: main_status(now)["restartCount"] == 1)
    assert "HTTP probe failed with statuscode: 404" in kubelet.log.read_text()
    kubelet.drop("web")


def test_hooks(kubelet: Kubelet) -> None:
    kubelet.machine.run("mkdir", "-p", str(kubelet.root / "shared"))
    shared = kubelet.root / "shared"
    lifecycle = {
        "postStart": {"exec": {"command": ["sh", "-c", "echo post >>/shared/order"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo pre >>/shared/order"]}},
    }
    spec = {
        "terminationGracePeriodSeconds": 20,
        "volumes": [{"name": "shared", "hostPath": {"path": str(shared), "type": "Directory"}}],
    }
    script = "trap 'echo term >>/shared/order; exit 0' TERM; sleep 1000 & wait"
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    kubelet.put("hooks", pod("hooks", script, spec=spec, lifecycle=lifecycle, volumeMounts=mounts))
    kubelet.wait("hooks", lambda now: condition(now, "Ready") == "True")
    kubelet.drop("hooks")
    kubelet.gone("hooks")
    assert (shared / "order").read_text().split() == ["post", "pre", "term"]


def test_a_failing_post_start_hook_kills_the_container(kubelet: Kubelet) -> None:
    lifecycle = {"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 1"]}}}
    kubelet.put("posthook", pod("posthook", "sleep 1000", lifecycle=lifecycle))
    kubelet.wait("posthook", "Failed")
    assert "FailedPostStartHook" in kubelet.log.read_text()
    kubelet.drop("posthook")


def test_resources_and_qos(kubelet: Kubelet) -> None:
    limits = {"cpu": "200m", "memory": "64Mi"}
    kubelet.put("guaranteed", pod("guaranteed", "sleep 1000", resources={"limits": limits}))
    kubelet.put("burstable", pod("burstable", "sleep 1000", resources={"requests": {"cpu": "100m"}}))
    kubelet.put("besteffort", pod("besteffort", "sleep 1000"))
    found = {}
    for name, quality in (("guaranteed", "Guaranteed"), ("burstable", "Burstable"), ("besteffort", "BestEffort")):
        status = kubelet.wait(name, "Running")
        assert status["qosClass"] == quality
        found[name] = kubelet.pods()[name]["metadata"]["uid"]
    base = f"{kubelet.machine.cgroup}/kubepods"
    mine = f"{base}/pod{found['guaranteed']}"
    assert read("memory", mine, "memory.limit_in_bytes") == str(64 << 20)
    assert read("cpu", mine, "cpu.cfs_quota_us") == "20000"
    assert read("cpu", f"{base}/burstable/pod{found['burstable']}", "cpu.shares") == "102"
    assert read("cpu", f"{base}/burstable", "cpu.shares") == "102"
    assert read("cpu", f"{base}/besteffort/pod{found['besteffort']}", "cpu.shares") == "2"
    container = main_status(kubelet.status("guaranteed"))["containerID"].partition("://")[2]
    assert read("memory", f"{mine}/{container}", "memory.limit_in_bytes") == str(64 << 20)
    for name in found:
        kubelet.drop(name)
    for name in found:
        kubelet.gone(name)
    assert not [path for path in kubelet.machine.cgroups() if found["guaranteed"] in path]


def read(controller: str, cgroup: str, file: str) -> str:
    """A file of a cgroup v1 hierarchy."""
    path = Path(f"/sys/fs/cgroup/{controller}{cgroup}/{file}")
    if not Path(f"/sys/fs/cgroup/{controller}").is_dir():
        pytest.skip("no cgroup v1 here")
    return path.read_text().strip()


def test_pull_policies(kubelet: Kubelet) -> None:
    kubelet.put("absent", pod("absent", image="localhost:1/nothing:1"))
    kubelet.put("unpulled", pod("unpulled", image="localhost/nothing:1", imagePullPolicy="Never"))
    kubelet.put("unnamed", pod("unnamed", image="NOT/an::image"))

    def waiting(reason: str) -> Predicate:
        return lambda now: main_status(now)["state"].get("waiting", {}).get("reason") == reason

    kubelet.wait("unpulled", waiting("ErrImageNeverPull"))
    kubelet.wait("unnamed", waiting("InvalidImageName"))
    kubelet.wait("absent", lambda now: "waiting" in main_status(now)["state"] and "rr" in str(main_status(now)))
    status = kubelet.wait("absent", waiting("ImagePullBackOff"), 40)
    assert status["phase"] == "Pending"
    assert 'Back-off pulling image "localhost:1/nothing:1"' in main_status(status)["state"]["waiting"]["message"]
    for name in ("absent", "unpulled", "unnamed"):
        kubelet.drop(name)


OBJECTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red, size: "3"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: hush}
"""


def test_environment(kubelet: Kubelet) -> None:
    env = [
        {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "MISSING", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": True}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "ALL", "value": "$(COLOUR)-$(TOKEN)-$$(NAME)"},
    ]
    output = done(
        kubelet,
        "env",
        OBJECTS,
        pod(
            "env",
            "env",
            env=env,
            envFrom=[{"prefix": "S_", "configMapRef": {"name": "settings"}}],
            resources={"limits": {"memory": "32Mi"}},
        ),
    )
    lines = dict(line.partition("=")[::2] for line in output.splitlines())
    assert lines["COLOUR"] == "red" and lines["TOKEN"] == "hush" and "MISSING" not in lines
    assert lines["NAME"] == "env-n1" and lines["NODE"] == "n1" and lines["IP"].startswith("10.89.")
    assert lines["LIMIT"] == "32" and lines["ALL"] == "red-hush-$(NAME)" and lines["S_size"] == "3"


def test_volumes(kubelet: Kubelet) -> None:
    spec = {
        "securityContext": {"fsGroup": 2000, "runAsUser": 1000},
        "volumes": [
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "colour", "path": "a/b"}]}},
            {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
            {
                "name": "about",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "settings"}},
                        {"secret": {"name": "keys"}},
                        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                    ]
                },
            },
        ],
    }
    mounts = [
        {"name": "memory", "mountPath": "/memory"},
        {"name": "disk", "mountPath": "/disk"},
        {"name": "disk", "mountPath": "/part", "subPath": "deep/er"},
        {"name": "disk", "mountPath": "/named", "subPathExpr": "$(WHO)"},
        {"name": "settings", "mountPath": "/settings", "readOnly": True},
        {"name": "keys", "mountPath": "/keys"},
        {"name": "about", "mountPath": "/about"},
    ]
    script = """
    grep ' /memory ' /proc/mounts | cut -d' ' -f3
    grep ' /keys ' /proc/mounts | cut -d' ' -f3
    grep ' /about ' /proc/mounts | cut -d' ' -f3
    dd if=/dev/zero of=/memory/x bs=1M count=2 2>/dev/null || echo full
    touch /disk/file && stat -c %g /disk/file
    touch /part/file /named/file && ls -d /disk/deep/er/file /disk/me/file
    cat /settings/a/b; echo; cat /keys/token; echo; stat -L -c %a:%g /keys/token
    cat /about/labels; echo; cat /about/size /about/token; echo
    touch /settings/x 2>/dev/null || echo read-only
    """
    made = pod("volumes", script, spec=spec, volumeMounts=mounts, env=[{"name": "WHO", "value": "me"}])
    made["metadata"]["labels"] = {"app": "it"}
    output = done(kubelet, "volumes", OBJECTS, made).splitlines()
    assert output == [
        *("tmpfs", "tmpfs", "tmpfs", "full", "2000", "/disk/deep/er/file", "/disk/me/file"),
        *("red", "hush", "440:2000", 'app="it"', "3hush", "read-only"),
    ]
    kubelet.gone("volumes")
    assert str(kubelet.root) not in kubelet.machine.run("cat", "/proc/mounts")


def test_image_volumes(kubelet: Kubelet) -> None:
    if kubelet.runtime != "podwright":
        pytest.skip("containerd 1.6 has none")
    document = pod(
        "reader",
        "ls /files/bin/busybox; ls /part/busybox; touch /files/x 2>/dev/null || echo read-only",
        spec={"volumes": [{"name": "files", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}}]},
        volumeMounts=[
            {"name": "files", "mountPath": "/files"},
            {"name": "files", "mountPath": "/part", "subPath": "bin"},
        ],
    )
    assert done(kubelet, "reader", document).split() == ["/files/bin/busybox", "/part/busybox", "read-only"]
    document["spec"]["volumes"][0]["image"]["reference"] = "localhost:1/nothing:1"
    kubelet.put("reader", document)
    kubelet.wait("reader", lambda now: "Pull" in main_status(now)["state"].get("waiting", {}).get("reason", ""))
    kubelet.drop("reader")


def test_config_maps_in_volumes_are_updated(kubelet: Kubelet) -> None:
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "live"}, "data": {"key": "old"}}
    spec = {"volumes": [{"name": "live", "configMap": {"name": "live"}}]}
    mounts = [{"name": "live", "mountPath": "/live"}]
    script = "cat /live/key; echo; until grep -q new /live/key; do sleep 0.2; done; cat /live/key"
    kubelet.put("live-objects", settings)
    kubelet.put("live", pod("live", script, spec=spec, volumeMounts=mounts))
    kubelet.wait("live", "Running")
    kubelet.put("live-objects", settings | {"data": {"key": "new"}})
    kubelet.wait("live", "Succeeded", 90)
    assert kubelet.output("live").splitlines() == ["old", "new"]
    kubelet.drop("live")
    kubelet.drop("live-objects")


def test_a_sub_path_cannot_leave_its_volume(kubelet: Kubelet) -> None:
    link = {
        "name": "link",
        "image": IMAGE,
        "command": ["ln", "-s", "/etc", "/v/out"],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    }
    spec = {"volumes": [{"name": "v", "emptyDir": {}}], "initContainers": [link]}
    mounts = [{"name": "v", "mountPath": "/host", "subPath": "out"}]
    kubelet.put("escape", pod("escape", "ls /host", spec=spec, volumeMounts=mounts))
    status = kubelet.wait(
        "escape", lambda now: main_status(now)["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError"
    )
    assert "leads out of the volume" in main_status(status)["state"]["waiting"]["message"]
    kubelet.drop("escape")


def test_host_namespaces_and_names(kubelet: Kubelet) -> None:
    spec = {
        "hostNetwork": True,
        "hostPID": True,
        "hostIPC": True,
        "hostAliases": [{"ip": "10.9.8.7", "hostnames": ["far"]}],
    }
    script = "ls /proc 2>/dev/null | grep -c '^[0-9]'; grep -c pw0: /proc/net/dev; grep far$ /etc/hosts"
    many, same, alias = done(kubelet, "hostly", pod("hostly", script, spec=spec)).splitlines()
    assert int(many) > 3 and same == "1" and alias == "10.9.8.7\tfar"
    spec = {
        "hostname": "me",
        "hostAliases": [{"ip": "10.9.8.7", "hostnames": ["far"]}],
        "dnsPolicy": "None",
        "dnsConfig": {"nameservers": ["10.0.0.10"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}]},
    }
    output = done(
        kubelet, "names", pod("names", "hostname; cat /etc/resolv.conf; grep -e far -e me /etc/hosts", spec=spec)
    )
    assert output.split()[:7] == ["me", "search", "a.b", "nameserver", "10.0.0.10", "options", "ndots:2"]
    assert "\tme" in output and "10.9.8.7\tfar" in output


def test_shared_process_namespace(kubelet: Kubelet) -> None:
    made = pod("shared", "sleep 1; ps | grep -c 'sleep 123[4]'", spec={"shareProcessNamespace": True})
    made["spec"]["containers"].append({"name": "other", "image": IMAGE, "command": ["sleep", "1234"]})
    kubelet.put("shared", made)
    kubelet.wait("shared", lambda now: "terminated" in main_status(now)["state"])
    assert kubelet.output("shared") == "1"
    kubelet.drop("shared")


def test_security_contexts(kubelet: Kubelet) -> None:
    context = {
        "runAsUser": 1234,
        "runAsGroup": 2345,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    script = (
        "id -u; id -g; id -G; touch /x 2>/dev/null || echo read-only; "
        "grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
    )
    output = done(
        kubelet,
        "secure",
        pod("secure", script, spec={"securityContext": {"supplementalGroups": [3456]}}, securityContext=context),
    )
    words = output.split()
    assert words[:2] == ["1234", "2345"] and {"2345", "3456"} <= set(words[2:5])
    assert "read-only" in words and "0000000000000000" in words
    assert words[words.index("NoNewPrivs:") + 1] == "1" and words[words.index("Seccomp:") + 1] == "2"
    kubelet.put("noroot", pod("noroot", "true", securityContext={"runAsNonRoot": True}))
    status = kubelet.wait("noroot", lambda now: "waiting" in main_status(now)["state"] and "root" in str(now))
    assert main_status(status)["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    kubelet.drop("noroot")


def test_runtime_classes(kubelet: Kubelet) -> None:
    assert done(kubelet, "handled", pod("handled", "echo yes", spec={"runtimeClassName": "runc"})) == "yes"
    kubelet.put("unhandled", pod("unhandled", "true", spec={"runtimeClassName": "nosuch"}))
    kubelet.wait("unhandled", "Pending")
    kubelet.until(lambda: "FailedCreatePodSandBox" in kubelet.log.read_text(), "nothing is said of the handler")
    kubelet.drop("unhandled")


def test_termination_messages(kubelet: Kubelet) -> None:
    kubelet.put("words", pod("words", "printf goodbye >/dev/termination-log; exit 1"))
    kubelet.put("lines", pod("lines", "echo one; echo two; exit 1", terminationMessagePolicy="FallbackToLogsOnError"))
    assert main_status(kubelet.wait("words", "Failed"))["state"]["terminated"]["message"] == "goodbye"
    assert main_status(kubelet.wait("lines", "Failed"))["state"]["terminated"]["message"] == "one\ntwo\n"
    kubelet.drop("words")
    kubelet.drop("lines")


def test_logs_are_rotated_and_linked(kubelet: Kubelet) -> None:
    kubelet.put("chatty", pod("chatty", "while true; do echo $(date) something to fill the log; sleep 0.01; done"))
    kubelet.wait("chatty", "Running")
    uid = kubelet.pods()["chatty"]["metadata"]["uid"]
    directory = kubelet.logs / f"default_chatty-n1_{uid}/main"
    kubelet.until(lambda: len(list(directory.glob("0.log.*.gz"))) >= 1, lambda: str(os.listdir(directory)), 30)
    assert len(os.listdir(directory)) <= 4  # three files, and one that is being packed
    assert list((kubelet.logs.parent / "containers").glob("chatty-n1_default_main-*.log"))
    kubelet.drop("chatty")
    kubelet.gone("chatty")
    assert not directory.exists()


def test_active_deadline(kubelet: Kubelet) -> None:
    kubelet.put("late", pod("late", "sleep 1000", spec={"activeDeadlineSeconds": 2}))
    status = kubelet.wait("late", "Failed")
    assert status["reason"] == "DeadlineExceeded"
    kubelet.wait("late", lambda now: "terminated" in main_status(now)["state"])
    kubelet.drop("late")


def test_a_changed_manifest_is_another_pod(kubelet: Kubelet) -> None:
    kubelet.put("edited", pod("edited", "echo one; sleep 1000"))
    kubelet.wait("edited", "Running")
    before = kubelet.pods()["edited"]["metadata"]["uid"]
    kubelet.put("edited", pod("edited", "echo two; sleep 1000"))
    kubelet.until(lambda: kubelet.pods().get("edited", {}).get("metadata", {}).get("uid") not in {before, None}, "same")
    kubelet.wait("edited", "Running")
    kubelet.until(lambda: kubelet.output("edited") == "two", "it does not say two")
    kubelet.drop("edited")


def test_a_new_agent_adopts_what_runs(kubelet: Kubelet) -> None:
    kubelet.put("steady", pod("steady", "sleep 1000", spec={"restartPolicy": "Always"}))
    kubelet.put("orphan", pod("orphan", "sleep 1000", resources={"requests": {"cpu": "100m"}}))
    before = main_status(kubelet.wait("steady", "Running"))
    kubelet.wait("orphan", "Running")
    orphan = kubelet.pods()["orphan"]["metadata"]["uid"]
    kubelet.end(signal.SIGKILL)
    kubelet.drop("orphan")
    kubelet.start()
    after = main_status(kubelet.wait("steady", "Running"))
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    assert after["state"] == before["state"]
    kubelet.until(lambda: not [p for p in kubelet.machine.cgroups() if orphan in p], "the orphan is still there")
    kubelet.until(lambda: not (kubelet.root / "pods" / orphan).exists(), "its directory is still there")
    kubelet.drop("steady")
    kubelet.gone("steady")
