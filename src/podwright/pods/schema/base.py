"""What all objects of the API have in common."""

from typing import Annotated, Any, Final

import msgspec

UNSERVED: Final = msgspec.Meta(extra={"served_by": "nobody"})
ONLY_NODE: Final = msgspec.Meta(extra={"served_by": "node"})

Ignored = Any
Unserved = Annotated[Any, UNSERVED]
Quantity = str | int | float


class Base(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An object of the API. What it does not name is refused."""


class Metadata(Base, frozen=True):
    """ObjectMeta."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: Ignored = None
    deletion_timestamp: Ignored = None
    """Not None: the object is to go."""
    deletion_grace_period_seconds: int | None = None
    resource_version: str = ""
    owner_references: Ignored = None
    finalizers: Ignored = None
    generate_name: Ignored = None
    generation: Ignored = None
    managed_fields: Ignored = None
    self_link: Ignored = None
