"""The objects beside a pod that it may refer to. Owns no way of getting them."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Objects:
    """What there is in a pod's namespace, each by name."""

    config_maps: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    tokens: Mapping[tuple[str, int], str] = field(default_factory=dict)
    """Service account tokens by audience (empty: the API server's) and life in seconds."""
    services: Mapping[str, str] = field(default_factory=dict)
    """Variables that tell of services, such as KUBERNETES_SERVICE_HOST."""
