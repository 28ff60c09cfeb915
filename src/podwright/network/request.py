"""What a pod wants of its network, and how it is told to plugins: CNI_ARGS and capability arguments.

The names and shapes are containerd's, which plugins are written for: `portMappings`, `bandwidth`, `dns`, `cgroupPath`
and `io.kubernetes.cri.pod-annotations`. Nothing in the CRI corresponds to `aliases`, `mac`, `ips` and `ipRanges`.
"""

import ipaddress
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import msgspec

from podwright.errors import InvalidArgument
from podwright.network.config import NetworkConfig

_LAST_PORT = 65535

INTERFACE = "eth0"
"""What kubelets and probes expect a pod's interface to be called."""


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the host that leads to one of the pod."""

    container_port: int
    host_port: int
    """0: no mapping (api.proto)."""
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Dns:
    """A pod's DNS settings."""

    servers: Sequence[str] = ()
    searches: Sequence[str] = ()
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """A sandbox that shall get a network."""

    sandbox_id: str
    netns: str
    """Path of its pinned network namespace."""
    name: str
    namespace: str
    uid: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    port_mappings: Sequence[PortMapping] = ()
    dns: Dns | None = None
    cgroup_parent: str = ""

    @property
    def wants_host_ports(self) -> bool:
        """Whether any mapping has a port of the host."""
        return any(mapping.host_port for mapping in self.port_mappings)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """All that plugins are told about an attachment, at ADD and again at DEL: written down between."""

    network: NetworkConfig
    container_id: str
    netns: str
    ifname: str
    args: dict[str, str]
    capabilities: dict[str, Any]


def check(request: AttachRequest) -> None:
    """Raises InvalidArgument, naming the field, for what no network can do; for the time before anything is made."""
    _args(request)
    bandwidth(request.annotations)
    for index, mapping in enumerate(request.port_mappings):
        field = f"port_mappings[{index}]"
        if not 1 <= mapping.container_port <= _LAST_PORT:
            raise InvalidArgument(f"{field}.container_port: {mapping.container_port} is not between 1 and {_LAST_PORT}")
        if not 0 <= mapping.host_port <= _LAST_PORT:
            raise InvalidArgument(f"{field}.host_port: {mapping.host_port} is not between 0 and {_LAST_PORT}")
        try:
            ipaddress.ip_address(mapping.host_ip or "::")
        except ValueError:
            raise InvalidArgument(f'{field}.host_ip: "{mapping.host_ip}" is no IP address') from None


def make_call(request: AttachRequest, network: NetworkConfig) -> Call:
    """The call that attaches the sandbox. Raises InvalidArgument, naming the field."""
    known = {
        "portMappings": _port_mappings(request.port_mappings),
        "bandwidth": bandwidth(request.annotations),
        "dns": _dns(request.dns),
        "cgroupPath": request.cgroup_parent or None,
        "io.kubernetes.cri.pod-annotations": dict(request.annotations),
    }
    return Call(
        network=network,
        container_id=request.sandbox_id,
        netns=request.netns,
        ifname=INTERFACE,
        args=_args(request),
        capabilities={key: value for key, value in known.items() if value is not None and network.declares(key)},
    )


def _args(request: AttachRequest) -> dict[str, str]:
    args = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": request.namespace,
        "K8S_POD_NAME": request.name,
        "K8S_POD_INFRA_CONTAINER_ID": request.sandbox_id,
        "K8S_POD_UID": request.uid,
    }
    for key, value in args.items():
        if set(value) & {";", "=", "\0"}:
            raise InvalidArgument(f'metadata: "{value}" cannot be told to network plugins as {key}: it has ";" or "="')
    return args


def _port_mappings(mappings: Sequence[PortMapping]) -> list[dict[str, Any]] | None:
    wanted = [
        {
            "hostPort": mapping.host_port,
            "containerPort": mapping.container_port,
            "protocol": mapping.protocol,
            "hostIP": mapping.host_ip,
        }
        for mapping in mappings
        if mapping.host_port
    ]
    return wanted or None


def _dns(dns: Dns | None) -> dict[str, list[str]] | None:
    if dns is None:
        return None
    return {"servers": list(dns.servers), "searches": list(dns.searches), "options": list(dns.options)}


_DIRECTIONS = {"ingress": "kubernetes.io/ingress-bandwidth", "egress": "kubernetes.io/egress-bandwidth"}
_UNLIMITED_BURST = (1 << 32) - 1  # bits; what containerd says


def bandwidth(annotations: Mapping[str, str]) -> dict[str, int] | None:
    """The `bandwidth` capability, in bits a second, for a pod with these annotations. Raises InvalidArgument."""
    limits: dict[str, int] = {}
    for direction, annotation in _DIRECTIONS.items():
        text = annotations.get(annotation)
        if text is None:
            continue
        rate = _quantity(text)
        if rate is None or not 10**3 <= rate <= 10**15:  # the limits that Kubernetes documents
            raise InvalidArgument(
                f'annotations["{annotation}"]: "{text}" is no bandwidth from 1k to 1P bits a second, such as 10M'
            )
        limits[f"{direction}Rate"] = rate
        limits[f"{direction}Burst"] = _UNLIMITED_BURST
    return limits or None


_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?")
_SUFFIXES = {
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("num", start=-3)},
    **{suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024) ** power for power, suffix in enumerate("KMGTPE", start=1)},
}


def _quantity(text: str) -> int | None:
    """A Kubernetes quantity such as 10M, 1.5Gi or 2e6, rounded up to an integer; None if it is none."""
    match = _QUANTITY.fullmatch(text)
    if not match:
        return None
    number, suffix, exponent = match.groups()
    factor = _SUFFIXES[suffix] if suffix else Fraction(10) ** int(exponent or 0)
    return math.ceil(Fraction(number) * factor)
