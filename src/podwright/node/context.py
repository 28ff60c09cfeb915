"""What the parts of a node have in common: its name, its settings, its collaborators. Does nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from podwright.client import AsyncClient
from podwright.cri import v1
from podwright.node.cgroups import PodCgroups
from podwright.node.configuration import Configuration
from podwright.node.events import Recorder
from podwright.node.images import Images
from podwright.node.machine import Machine
from podwright.node.node_pods import NodePod
from podwright.node.observed import Observed
from podwright.node.places import Places
from podwright.pods.dns import ClusterDns, ResolvConf
from podwright.pods.objects import Objects


class ObjectSource(Protocol):
    """Where the objects come from that a pod refers to."""

    async def objects(self, pod: NodePod, *, fresh: bool) -> Objects:
        """Those that the pod names, as far as they are there: as they are now, or as they were a short while ago.

        Raises Unavailable if it cannot be known.
        """

    async def pull_secrets(self, pod: NodePod) -> list[Mapping[str, bytes]]:
        """The contents of its imagePullSecrets, as far as they are there."""

    async def handler(self, runtime_class: str) -> str:
        """The handler of a RuntimeClass. Raises NotFound."""


@dataclass(slots=True)
class Node:
    """A node and its parts."""

    name: str
    addresses: tuple[str, ...]
    configuration: Configuration
    machine: Machine
    capacity: Mapping[str, Decimal]
    allocatable: Mapping[str, Decimal]
    """What pods may use of it."""
    runtime: v1.VersionResponse
    cri: AsyncClient
    observed: Observed
    images: Images
    recorder: Recorder
    places: Places
    cgroups: PodCgroups
    objects: dict[str, ObjectSource]
    """By the source of pods: file, api."""
    resolv_conf: ResolvConf
    dns: ClusterDns | None
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    """PodStatus by uid."""
    on_status: list[Callable[[NodePod, dict[str, Any]], None]] = field(default_factory=list)
    """Told of each new status."""
