"""What a pod may ask about itself: the downward API, for variables and for volumes."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from podwright.errors import InvalidArgument
from podwright.pods import quantity
from podwright.pods.check import containers
from podwright.pods.schema import Pod, ResourceSelector

_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


@dataclass(frozen=True, slots=True)
class Facts:
    """A pod, and what is known of it once its sandbox is there."""

    pod: Pod
    namespace: str
    uid: str
    node: str
    addresses: tuple[str, ...] = ()
    host_addresses: tuple[str, ...] = ()
    allocatable: Mapping[str, Decimal] = field(default_factory=dict)
    """What a container without limits may use, by resource; empty: there is no answer."""

    def field(self, path: str, where: str) -> str:
        """The value of a fieldPath. Raises InvalidArgument that begins with `where`."""
        metadata = self.pod.metadata
        if found := _SUBSCRIPT.fullmatch(path):
            return (metadata.labels if found[1] == "labels" else metadata.annotations).get(found[2], "")
        match path:
            case "metadata.name":
                return metadata.name
            case "metadata.namespace":
                return self.namespace
            case "metadata.uid":
                return self.uid
            case "metadata.labels":
                return _lines(metadata.labels)
            case "metadata.annotations":
                return _lines(metadata.annotations)
            case "spec.nodeName":
                return self.node
            case "spec.serviceAccountName":
                return self.pod.spec.service_account_name or "default"
            case "status.podIP":
                return self.addresses[0] if self.addresses else ""
            case "status.podIPs":
                return ",".join(self.addresses)
            case "status.hostIP":
                return self.host_addresses[0] if self.host_addresses else ""
            case "status.hostIPs":
                return ",".join(self.host_addresses)
        raise InvalidArgument(f'{where}: "{path}" is no field that a container may ask for')

    def resource(self, selector: ResourceSelector, container: str, where: str) -> str:
        """The value of a resourceFieldRef of the container. Raises InvalidArgument that begins with `where`."""
        named = {other.name: other for _, other in containers(self.pod)}
        about = named.get(selector.container_name or container)
        if about is None:
            raise InvalidArgument(f'{where}.containerName: there is no container "{selector.container_name}"')
        kind, _, name = selector.resource.partition(".")
        amounts = {"limits": about.resources.limits, "requests": about.resources.requests}.get(kind)
        if amounts is None:
            raise InvalidArgument(f'{where}.resource: "{selector.resource}" begins neither with limits nor requests')
        if kind == "requests" and name not in amounts:
            amounts = about.resources.limits
        divisor = quantity.parse(selector.divisor, f"{where}.divisor") or Decimal(1)
        if name in amounts:
            amount = quantity.parse(amounts[name], f"{where}.resource")
        elif kind == "limits" and name in self.allocatable:
            amount = self.allocatable[name]
        else:
            raise InvalidArgument(f'{where}.resource: container "{about.name}" sets no {selector.resource}')
        return str(math.ceil(amount / divisor))


def _lines(pairs: Mapping[str, str]) -> str:
    """As kubelets write labels into files: sorted, values quoted."""
    return "\n".join(f"{key}={_quoted(value)}" for key, value in sorted(pairs.items()))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
