"""Small rules, each by itself: durations, classes, credentials, DNS, files of volumes, references, sizes."""

import base64
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from podwright.errors import InvalidArgument
from podwright.node import machine, qos
from podwright.node.api.auth import subresources
from podwright.node.durations import seconds
from podwright.node.images import default_policy
from podwright.node.pull_secrets import credentials
from podwright.pods.back_off import BackOff
from podwright.pods.dns import ClusterDns, ResolvConf, config
from podwright.pods.read import convert, without_unknown
from podwright.pods.references import references
from podwright.pods.schema import Pod
from podwright.pods.volumes import atomic
from podwright.pods.volumes.payload import File


def pod(**spec: Any) -> Pod:
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    return convert({**document, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}, Pod)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20s", 20), ("1m30s", 90), ("1.5h", 5400), ("300ms", 0.3), ("0", 0), ("0s", 0), ("2h0m5s", 7205)],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text, "it") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1 s", "-1s", "1s2"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is no duration"):
        seconds(text, "it")


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"limits": {"cpu": 1, "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": 1, "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": 1, "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"memory": "1Gi"}}, "Burstable"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], quality: str) -> None:
    made = pod(containers=[{"name": "c", "image": "i", "resources": resources}])
    assert qos.of(made) == quality
    expected = {"Guaranteed": -997, "BestEffort": 1000}.get(quality)
    found = qos.oom_score_adj(made, made.spec.containers[0], 8 << 30)
    assert found == expected if expected is not None else 3 <= found <= 999


def test_a_pod_needs_its_peak() -> None:
    """max(what initialises, what runs), with sidecars counted from their start (KEP 753)."""

    def container(name: str, cpu: int, **more: Any) -> dict[str, Any]:
        return {"name": name, "image": "i", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}, **more}

    made = pod(
        initContainers=[container("a", 5), container("side", 2, restartPolicy="Always"), container("b", 4)],
        containers=[container("c", 1), container("d", 1)],
    )
    assert qos.total(made, "requests", "cpu") == 6
    unlimited = pod(containers=[{"name": "c", "image": "i"}, container("d", 1)])
    assert qos.total(unlimited, "limits", "cpu") is None


def test_credentials_of_the_registry_only() -> None:
    def secret(**auths: dict[str, str]) -> dict[str, bytes]:
        return {".dockerconfigjson": json.dumps({"auths": auths}).encode()}

    packed = base64.b64encode(b"me:secret").decode()
    secrets = [
        secret(**{"https://index.docker.io/v1/": {"auth": packed}, "quay.io": {"username": "q", "password": "p"}}),
        secret(**{"quay.io/team": {"username": "t", "password": "p"}, "*.example.com": {"identitytoken": "x"}}),
        {".dockerconfigjson": b"nonsense"},
        {},
    ]
    assert [(auth.username, auth.password) for auth in credentials("busybox", secrets)] == [("me", "secret")]
    assert [auth.username for auth in credentials("quay.io/team/app:1", secrets)] == ["t", "q"]
    assert [auth.username for auth in credentials("quay.io/teammate/app:1", secrets)] == ["q"]
    assert [auth.identity_token for auth in credentials("a.example.com/app", secrets)] == ["x"]
    assert credentials("other.io/app", secrets) == []


def test_default_pull_policies() -> None:
    assert [default_policy(name) for name in ("a", "a:latest", "a:1", "a@sha256:" + "0" * 64)] == [
        *("Always", "Always", "IfNotPresent", "IfNotPresent")
    ]


def test_dns() -> None:
    host = ResolvConf.parse("# x\nnameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch corp example.org.\noptions edns0\n")
    assert host == ResolvConf(("1.1.1.1", "2.2.2.2"), ("corp", "example.org"), ("edns0",))
    cluster = ClusterDns(("10.0.0.10",), "cluster.local")
    assert config(pod().spec, host) is None, "the runtime's own copy does"
    first = config(pod().spec, host, cluster, "ns")
    assert first is not None
    assert list(first.servers) == ["10.0.0.10"] and list(first.options) == ["ndots:5"]
    assert list(first.searches) == ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp", "example.org"]
    assert config(pod(hostNetwork=True).spec, host, cluster, "ns") is None
    forced = config(pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet").spec, host, cluster, "ns")
    assert forced is not None and list(forced.servers) == ["10.0.0.10"]
    own = config(
        pod(dnsConfig={"nameservers": ["9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}).spec,
        host,
        cluster,
        "ns",
    )
    assert own is not None
    assert list(own.servers) == ["10.0.0.10", "9.9.9.9"] and list(own.options) == ["ndots:2"]


def test_files_of_a_volume_change_all_at_once(tmp_path: Path) -> None:
    old = {"a": File(b"1", 0o644), "deep/b": File(b"2", 0o400), "gone": File(b"3", 0o644)}
    assert atomic.write(str(tmp_path), old, None)
    before = os.readlink(tmp_path / "..data")
    assert not atomic.write(str(tmp_path), old, None), "the same again is no change"
    assert os.readlink(tmp_path / "..data") == before
    assert atomic.write(str(tmp_path), {"a": File(b"new", 0o644), "deep/b": File(b"2", 0o400)}, None)
    assert (tmp_path / "a").read_text() == "new" and (tmp_path / "deep/b").read_text() == "2"
    assert (tmp_path / "deep/b").stat().st_mode & 0o777 == 0o400
    assert sorted(name for name in os.listdir(tmp_path) if not name.startswith("..")) == ["a", "deep"]
    assert len(os.listdir(tmp_path)) == 4, "the old files are gone"


def test_unknown_fields_of_a_newer_api_are_left_out() -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "new": 1},
        "spec": {
            "containers": [{"name": "c", "image": "i", "newer": {"x": 1}}],
            "newest": [],
            "volumes": [{"name": "v", "emptyDir": {"other": 1}}],
        },
        "status": {"anything": 1},
    }
    made = convert(without_unknown(document, Pod), Pod)
    assert made.spec.containers[0].name == "c" and made.spec.volumes[0].empty_dir is not None
    with pytest.raises(InvalidArgument, match="unknown field"):
        convert(document, Pod)


def test_references() -> None:
    found = references(
        pod(
            containers=[
                {
                    "name": "c",
                    "image": "i",
                    "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
                    "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "c", "key": "k"}}}],
                }
            ],
            volumes=[
                {
                    "name": "v",
                    "projected": {
                        "sources": [
                            {"configMap": {"name": "d"}},
                            {"secret": {"name": "e"}},
                            {"serviceAccountToken": {"path": "t"}},
                        ]
                    },
                },
                {"name": "w", "secret": {"secretName": "f"}},
            ],
        )
    )
    assert found.config_maps == {"a", "d"} and found.secrets == {"b", "c", "e", "f"} and len(found.tokens) == 1


def test_back_off_grows_and_is_forgiven() -> None:
    back_off, now, pauses = BackOff(), 1000.0, []
    for _ in range(8):
        pauses.append(back_off.due(now) - now)
        now += pauses[-1]
        back_off.tried(now)
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300]
    assert back_off.due(now + 601) == now + 601


def test_thresholds_and_what_pods_may_use() -> None:
    whole = {"cpu": Decimal(4), "memory": Decimal(1000), "ephemeral-storage": Decimal(500)}
    usable = machine.allocatable(whole, [{"cpu": "500m"}, {"memory": "100"}], {"memory.available": "10%"})
    assert usable == {"cpu": Decimal("3.5"), "memory": 800, "ephemeral-storage": 500}
    with pytest.raises(InvalidArgument, match="there is no resource"):
        machine.allocatable(whole, [{"gpu": "1"}], {})


def test_what_must_be_allowed_to_read_a_path() -> None:
    assert subresources("/stats/summary") == ["stats"]
    assert subresources("/metrics/resource") == ["metrics"]
    assert subresources("/pods") == ["pods", "proxy"]
    assert subresources("/exec/a/b/c") == ["proxy"] and subresources("/") == ["proxy"]
