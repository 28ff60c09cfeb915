"""Config maps and secrets."""

from collections.abc import Mapping
from typing import Literal

from podwright.pods.schema.base import Base, Ignored, Metadata


class ConfigMap(Base, frozen=True):
    """ConfigMap."""

    metadata: Metadata
    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    data: dict[str, str] = {}
    binary_data: dict[str, bytes] = {}
    immutable: Ignored = None

    def keys(self) -> Mapping[str, bytes]:
        """All values, by key."""
        return {key: value.encode() for key, value in self.data.items()} | self.binary_data


class Secret(Base, frozen=True):
    """Secret."""

    metadata: Metadata
    api_version: Literal["v1"]
    kind: Literal["Secret"]
    data: dict[str, bytes] = {}
    string_data: dict[str, str] = {}
    type: str = ""
    immutable: Ignored = None

    def keys(self) -> Mapping[str, bytes]:
        """All values, by key."""
        return self.data | {key: value.encode() for key, value in self.string_data.items()}
