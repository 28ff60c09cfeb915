"""What pods need to reach each other: the CNI configuration with its plugins, forwarding, bridges."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from podwright.doctor.finding import Finding, fault, ok, warning
from podwright.doctor.machine import Machine

_EXTENSIONS: Final = (".conf", ".conflist", ".json")


@dataclass(frozen=True, slots=True)
class CniPlaces:
    """Where the runtime looks for CNI configurations and plugins."""

    configurations: str = "/etc/cni/net.d"
    plugins: Sequence[str] = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")

    @classmethod
    def told(cls, config: Mapping[str, Any]) -> "CniPlaces":
        """As Podwright and containerd tell it of their configuration; the usual ones if they do not."""
        try:
            plugins = config["cni"].get("binDirs") or [config["cni"]["binDir"]]
            return cls(str(config["cni"]["confDir"]), [str(directory) for directory in plugins])
        except (KeyError, TypeError, AttributeError):
            return cls()


def check(machine: Machine, places: CniPlaces) -> Iterator[Finding]:
    """All of the network."""
    yield _cni(machine, places)
    yield _forwarding(machine)
    yield _bridges(machine)


def _cni(machine: Machine, places: CniPlaces) -> Finding:
    """The first file by name counts, as for all runtimes."""
    try:
        names = sorted(os.listdir(machine.path(places.configurations)))
    except OSError:
        names = []
    files = [name for name in names if name.endswith(_EXTENSIONS)]
    if not files:
        advice = "install a network add-on, or write a CNI configuration there"
        return fault("CNI", f'no configuration in "{places.configurations}"', advice)
    path = f"{places.configurations}/{files[0]}"
    try:
        document = json.loads(machine.text(path))
        kinds = [str(plugin["type"]) for plugin in document.get("plugins", [document])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        advice = "repair or remove it: the first file by name is the one that counts"
        return fault("CNI", f'"{path}" is no network configuration: {error}', advice)
    missing = [kind for kind in kinds if not _is_installed(machine, places, kind)]
    if missing:
        where = ", ".join(places.plugins)
        return fault("CNI", f'"{path}": plugins {", ".join(missing)} are not executable in {where}', "install them")
    return ok("CNI", f'"{path}" with plugins {", ".join(kinds)}')


def _is_installed(machine: Machine, places: CniPlaces, kind: str) -> bool:
    candidates = (machine.path(f"{directory}/{kind}") for directory in places.plugins)
    return any(os.path.isfile(path) and os.access(path, os.X_OK) for path in candidates)


def _forwarding(machine: Machine) -> Finding:
    if machine.number("/proc/sys/net/ipv4/ip_forward") != 1:
        advice = "sysctl -w net.ipv4.ip_forward=1"
        return warning("forwarding", "net.ipv4.ip_forward is off: pods reach nothing outside this node", advice)
    return ok("forwarding", "net.ipv4.ip_forward is on")


def _bridges(machine: Machine) -> Finding:
    if machine.number("/proc/sys/net/bridge/bridge-nf-call-iptables") != 1:
        return warning(
            "bridges",
            "traffic over bridges passes iptables by: kube-proxy's services fail between pods of one node",
            "modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1",
        )
    return ok("bridges", "their traffic passes iptables")
