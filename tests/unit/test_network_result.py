"""Results of ADD in all their forms."""

from typing import Any

import pytest

from podwright.network.result import Interface, parse

HOST = {"name": "veth1", "mac": "aa:aa:aa:aa:aa:aa"}
POD = {"name": "eth0", "mac": "bb:bb:bb:bb:bb:bb", "sandbox": "/run/netns/x"}
SECOND = {"name": "net1", "sandbox": "/run/netns/x"}


@pytest.mark.parametrize(
    ("result", "ips"),
    [
        ({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.2/24", "gateway": "10.1.0.1"}}, ["10.1.0.2"]),
        ({"ip4": {"ip": "10.1.0.2/24"}, "ip6": {"ip": "fd00::0:2/64"}}, ["10.1.0.2", "fd00::2"]),
        ({"ip6": {"ip": "fd00::2/64"}}, ["fd00::2"]),
        ({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.1.0.2/24"}]}, ["10.1.0.2"]),
        ({"ips": [{"address": "fd00::2/64"}, {"address": "10.1.0.2/24"}]}, ["fd00::2", "10.1.0.2"]),
        (
            {
                "cniVersion": "1.0.0",
                "interfaces": [HOST, POD, SECOND],
                "ips": [
                    {"address": "169.254.0.1/32", "interface": 0},
                    {"address": "10.1.0.2/24", "interface": 1},
                    {"address": "192.168.5.5/24", "interface": 2},
                    {"address": "fd00::2/64"},
                    {"address": "fd00::3/64", "interface": 7},
                ],
            },
            ["10.1.0.2", "fd00::2", "fd00::3"],
        ),
        ({"interfaces": [HOST, POD], "ips": [{"address": "10.1.0.2/24", "interface": 0}]}, ["10.1.0.2"]),
        ({"ips": [{"address": "10.1.0.2"}], "dns": {"nameservers": ["10.0.0.10"]}}, ["10.1.0.2"]),
    ],
)
def test_the_pods_addresses_in_order(result: dict[str, Any], ips: list[str]) -> None:
    attachment = parse(result, "eth0")
    assert list(attachment.ips) == ips
    assert attachment.result == result


def test_interfaces() -> None:
    attachment = parse({"interfaces": [HOST, POD], "ips": [{"address": "10.1.0.2/24", "interface": 1}]}, "eth0")
    assert attachment.interfaces == (
        Interface("veth1", "aa:aa:aa:aa:aa:aa"),
        Interface("eth0", "bb:bb:bb:bb:bb:bb", "/run/netns/x"),
    )


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({}, "no address for the pod"),
        ({"cniVersion": "1.0.0", "ips": []}, "no address for the pod"),
        ({"ips": [{"address": "ten"}]}, "'ten'"),
        ({"ips": [{"address": 10}]}, r"\$\.ips\[0\]\.address"),
        ({"ips": "10.1.0.2"}, r"\$\.ips"),
    ],
)
def test_results_that_make_no_sense(result: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(result, "eth0")
