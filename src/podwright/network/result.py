"""What plugins answer to ADD: pure functions over the result, in each form that it has had.

CNI 0.1 and 0.2: `ip4` and `ip6`; 0.3 to 1.1: `ips` and `interfaces`, of which 1.0 dropped the `version` of an IP.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

import msgspec


class Interface(msgspec.Struct, frozen=True):
    """A network interface made for a pod, on either side."""

    name: str
    mac: str = ""
    sandbox: str = ""
    """The network namespace it is in; empty for the host's."""


class _Ip(msgspec.Struct):
    address: str
    interface: int | None = None


class _OldIp(msgspec.Struct):
    ip: str


class _Result(msgspec.Struct):
    ips: list[_Ip] | None = None
    interfaces: list[Interface] | None = None
    ip4: _OldIp | None = None
    ip6: _OldIp | None = None


class Attachment(msgspec.Struct, frozen=True):
    """A sandbox in its network."""

    ips: tuple[str, ...]
    """The pod's addresses without prefix length, in the order of the plugins; the first is the primary one."""
    interfaces: tuple[Interface, ...]
    result: dict[str, Any]
    """All that the last plugin of the chain said."""


def parse(result: Mapping[str, Any], ifname: str) -> Attachment:
    """Reads the result of an ADD that made the interface `ifname`. Raises ValueError if it makes no sense or names no
    address.
    """
    parsed = msgspec.convert(result, _Result)
    interfaces = tuple(parsed.interfaces or ())
    old = [old.ip for old in (parsed.ip4, parsed.ip6) if old]
    ips = _of_pod(parsed.ips or [], interfaces, ifname) or old
    if not ips:
        raise ValueError("the result has no address for the pod")
    return Attachment(
        ips=tuple(str(ipaddress.ip_interface(address).ip) for address in ips),
        interfaces=interfaces,
        result=dict(result),
    )


def _of_pod(ips: list[_Ip], interfaces: tuple[Interface, ...], ifname: str) -> list[str]:
    """The addresses of the pod's interface and those of none in particular.

    Plugins may name addresses of the host's side too; if all seem to be such, the plugin counts its interfaces
    wrongly (Cilium has), and all are the pod's.
    """

    def is_other(ip: _Ip) -> bool:
        known = ip.interface is not None and 0 <= ip.interface < len(interfaces)
        return known and interfaces[ip.interface or 0].name != ifname

    return [ip.address for ip in ips if not is_other(ip)] or [ip.address for ip in ips]
