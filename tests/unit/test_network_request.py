"""What plugins are told of a pod, and resolv.conf."""

from pathlib import Path
from typing import Any

import pytest

from podwright.errors import InvalidArgument
from podwright.network.config import NetworkConfig
from podwright.network.dns import resolv_conf
from podwright.network.request import AttachRequest, Dns, PortMapping, bandwidth, make_call

ALL = ("portMappings", "bandwidth", "dns", "cgroupPath", "io.kubernetes.cri.pod-annotations", "ipRanges")


def network(*capabilities: str) -> NetworkConfig:
    plugin = {"type": "p", "capabilities": dict.fromkeys(capabilities, True)}
    return NetworkConfig(source="f", name="n", versions=("1.0.0",), plugins=({"type": "q"}, plugin))


def request(**fields: Any) -> AttachRequest:
    values = {"sandbox_id": "id1", "netns": "/run/netns/x", "name": "web", "namespace": "default", "uid": "u-1"}
    return AttachRequest(**{**values, **fields})


def test_args_are_kubernetes_own() -> None:
    assert make_call(request(), network()).args == {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": "default",
        "K8S_POD_NAME": "web",
        "K8S_POD_INFRA_CONTAINER_ID": "id1",
        "K8S_POD_UID": "u-1",
    }


@pytest.mark.parametrize("field", ["name", "namespace", "uid"])
@pytest.mark.parametrize("character", [";", "="])
def test_args_cannot_be_smuggled_in(field: str, character: str) -> None:
    with pytest.raises(InvalidArgument, match=f"metadata.*x{character}y"):
        make_call(request(**{field: f"x{character}y"}), network())


def test_capabilities_as_plugins_know_them_from_containerd() -> None:
    wanted = request(
        annotations={"a": "b", "kubernetes.io/ingress-bandwidth": "10M"},
        port_mappings=[
            PortMapping(80, 8080),
            PortMapping(53, 5353, "udp", "127.0.0.1"),
            PortMapping(9090, 0),
        ],
        dns=Dns(["10.0.0.10"], ["cluster.local"], ["ndots:5"]),
        cgroup_parent="/kubepods/pod1",
    )
    assert make_call(wanted, network(*ALL)).capabilities == {
        "portMappings": [
            {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""},
            {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
        ],
        "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": 4294967295},
        "dns": {"servers": ["10.0.0.10"], "searches": ["cluster.local"], "options": ["ndots:5"]},
        "cgroupPath": "/kubepods/pod1",
        "io.kubernetes.cri.pod-annotations": {"a": "b", "kubernetes.io/ingress-bandwidth": "10M"},
    }
    assert make_call(wanted, network("cgroupPath")).capabilities == {"cgroupPath": "/kubepods/pod1"}
    assert make_call(wanted, network()).capabilities == {}


def test_no_wish_no_argument() -> None:
    call = make_call(request(port_mappings=[PortMapping(80, 0)]), network(*ALL))
    assert call.capabilities == {"io.kubernetes.cri.pod-annotations": {}}
    assert not request(port_mappings=[PortMapping(80, 0)]).wants_host_ports


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("10M", 10**7),
        ("1k", 1000),
        ("1.5Gi", 1610612736),
        ("2e6", 2 * 10**6),
        ("1E-1M", None),
        ("1P", 10**15),
        ("1234567m", 1235),
        (".5M", 500_000),
        ("+5.M", 5 * 10**6),
        ("1024Ki", 1048576),
        ("", None),
        ("999", None),
        ("2P", None),
        ("-10M", None),
        ("10 M", None),
        ("10MB", None),
        ("fast", None),
    ],
)
def test_bandwidth_is_a_quantity_within_reason(text: str, bits: int | None) -> None:
    annotations = {"kubernetes.io/egress-bandwidth": text}
    if bits is None:
        with pytest.raises(InvalidArgument, match=r"kubernetes\.io/egress-bandwidth"):
            bandwidth(annotations)
    else:
        assert bandwidth(annotations) == {"egressRate": bits, "egressBurst": 4294967295}


def test_dns_of_the_pod() -> None:
    dns = Dns(["10.0.0.10", "fd00::a"], ["a.local", "b.local"], ["ndots:5", "edns0"])
    assert resolv_conf(dns, "/nonexistent") == (
        "search a.local b.local\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5 edns0\n"
    )
    assert resolv_conf(Dns(options=["ndots:1"]), "/nonexistent") == "options ndots:1\n"


@pytest.mark.parametrize("dns", [None, Dns()])
def test_dns_of_the_host_where_the_pod_has_no_wishes(tmp_path: Path, dns: Dns | None) -> None:
    host, real = tmp_path / "resolv.conf", tmp_path / "real"
    real.write_text("nameserver 9.9.9.9\n")
    assert resolv_conf(dns, str(tmp_path / "none"), str(real)) == ""
    host.write_text("# mine\nnameserver 192.0.2.1\n")
    assert resolv_conf(dns, str(host), str(real)) == "# mine\nnameserver 192.0.2.1\n"
    host.write_text("nameserver 127.0.0.53\nnameserver 192.0.2.1\n")
    assert resolv_conf(dns, str(host), str(real)) == "nameserver 127.0.0.53\nnameserver 192.0.2.1\n"


def test_the_stub_of_systemd_resolved_is_of_no_use_to_pods(tmp_path: Path) -> None:
    host, real = tmp_path / "resolv.conf", tmp_path / "real"
    host.write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n")
    assert resolv_conf(None, str(host), str(real)) == host.read_text()
    real.write_text("nameserver 9.9.9.9\nsearch lan\n")
    assert resolv_conf(None, str(host), str(real)) == real.read_text()
