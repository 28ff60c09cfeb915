"""The command line of `podwright node`: the kubelet's flags.

Most set a field of the configuration, and win over the file; the others are in `Flags`.
"""

import argparse
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from podwright.errors import InvalidArgument
from podwright.node import configuration
from podwright.node.configuration import Configuration

_CALLED_OTHERWISE: Final = {"static_pod_path": "pod-manifest-path", "cgroups_per_qos": "cgroups-per-qos"}
"""Flags that are not called as their fields."""
_NESTED: Final = {
    "client-ca-file": ("authentication", "x509", "client_ca_file"),
    "anonymous-auth": ("authentication", "anonymous", "enabled"),
    "authentication-token-webhook": ("authentication", "webhook", "enabled"),
    "authorization-mode": ("authorization", "mode"),
}
_KUBERNETES: Final = ("kubernetes.io", "k8s.io")
_NODES_OWN: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
_LABELS: Final = {
    *("kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"),
    *("beta.kubernetes.io/os", "beta.kubernetes.io/arch", "beta.kubernetes.io/instance-type"),
    *("topology.kubernetes.io/zone", "topology.kubernetes.io/region"),
    *("failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"),
}
"""Labels of Kubernetes' own that a node may give itself, beside those below _NODES_OWN (NodeRestriction)."""
_ONLY_IN_FILES: Final = {"authentication", "authorization", "register_with_taints"}


@dataclass(frozen=True, slots=True)
class Flags:
    """What is no part of KubeletConfiguration."""

    kubeconfig: str = ""
    hostname: str = ""
    node_ips: tuple[str, ...] = ()
    node_labels: dict[str, str] = field(default_factory=dict)
    root_dir: str = "/var/lib/kubelet"
    cert_dir: str = "/var/lib/kubelet/pki"
    verbosity: int = 2


def read(arguments: Sequence[str]) -> tuple[Flags, Configuration, list[str]]:
    """The flags, the configuration, and the names of fields of its file that mean nothing here.

    Raises InvalidArgument; argparse exits for a wrong command line.
    """
    given = parser().parse_args(arguments)
    result, ignored = Configuration(), list[str]()
    if given.config:
        try:
            with open(given.config, encoding="utf-8") as file:
                result, ignored = configuration.parse(file.read(), given.config)
        except OSError as error:
            raise InvalidArgument(f"--config {given.config}: {(error.strerror or '').lower()}") from None
    for name, value in vars(given).items():
        if value is None or not name.startswith("configuration."):
            continue
        *path, last = name.split(".")[1:]
        target: Any = result
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)
    configuration.check(result)
    _check_labels(given.node_labels)
    return _flags(given), result, ignored


def _check_labels(labels: Iterable[str]) -> None:
    """Refuses labels with which an API server would not let the node register. Raises InvalidArgument."""

    def below(label: str, domains: Iterable[str]) -> bool:
        prefix, slash, _ = label.partition("/")
        return bool(slash) and any(prefix == domain or prefix.endswith(f".{domain}") for domain in domains)

    wrong = [
        item for item in labels if below(item, _KUBERNETES) and not below(item, _NODES_OWN) and item not in _LABELS
    ]
    if wrong:
        raise InvalidArgument(
            f"--node-labels: unknown 'kubernetes.io' or 'k8s.io' labels: {', '.join(wrong)}. A node may give itself "
            f"those below {' and '.join(_NODES_OWN)}, and {', '.join(sorted(_LABELS))}"
        )


def _flags(given: argparse.Namespace) -> Flags:
    return Flags(
        kubeconfig=given.kubeconfig,
        hostname=given.hostname_override or socket.gethostname().lower(),
        node_ips=tuple(filter(None, given.node_ip.split(","))),
        node_labels=given.node_labels,
        root_dir=given.root_dir,
        cert_dir=given.cert_dir or f"{given.root_dir}/pki",
        verbosity=given.v,
    )


def parser() -> argparse.ArgumentParser:
    """All flags."""
    result = argparse.ArgumentParser(
        prog="podwright node",
        description="Runs pods on this machine as a kubelet does: those of a directory, those of a cluster, or both.",
        allow_abbrev=False,
    )
    own = result.add_argument_group("where and who")
    own.add_argument("--config", default="", metavar="FILE", help="a KubeletConfiguration; flags win over it")
    own.add_argument("--kubeconfig", default="", metavar="FILE", help="how to reach the API server; none: no cluster")
    own.add_argument("--hostname-override", default="", metavar="NAME", help="the node's name")
    own.add_argument("--node-ip", default="", metavar="IP[,IP]", help="the node's addresses")
    own.add_argument("--node-labels", default={}, type=_pairs, metavar="KEY=VALUE,…", help="labels to register with")
    own.add_argument("--root-dir", default="/var/lib/kubelet", metavar="DIR", help="volumes and files of pods")
    own.add_argument("--cert-dir", default="", metavar="DIR", help="where a self-made certificate is kept")
    own.add_argument("-v", "--v", default=2, type=int, metavar="N", help="4 and more: debug messages")
    fields = result.add_argument_group("fields of KubeletConfiguration")
    for known in msgspec.structs.fields(Configuration):
        if known.name not in _ONLY_IN_FILES:
            flag = _CALLED_OTHERWISE.get(known.name, known.name.replace("_", "-"))
            _add(fields, flag, f"configuration.{known.name}", known.type)
    for flag, path in _NESTED.items():
        kind = str if flag in {"client-ca-file", "authorization-mode"} else bool
        _add(fields, flag, "configuration." + ".".join(path), kind)
    return result


def _add(group: argparse._ArgumentGroup, flag: str, name: str, kind: object) -> None:
    read_as: Any = {bool: _boolean, int: int, dict[str, str]: _pairs, list[str]: _list}.get(kind, str)  # type: ignore[call-overload]
    options: dict[str, Any] = {"nargs": "?", "const": True} if kind is bool else {}
    metavar = {bool: "true|false", int: "N", dict[str, str]: "KEY=VALUE,…", list[str]: "A,B,…"}.get(kind, "TEXT")  # type: ignore[call-overload]
    group.add_argument(f"--{flag}", dest=name, type=read_as, metavar=metavar, **options)


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise argparse.ArgumentTypeError(f"{text!r}: true or false")
    return text == "true"


def _list(text: str) -> list[str]:
    return [item for item in text.split(",") if item]


def _pairs(text: str) -> dict[str, str]:
    """key=value pairs; the kubelet writes thresholds as key<value."""
    result = {}
    for item in _list(text):
        found = re.fullmatch(r"([^=<]+)[=<](.*)", item)
        if found is None:
            raise argparse.ArgumentTypeError(f"{item!r} is not key=value")
        result[found[1]] = found[2]
    return result
