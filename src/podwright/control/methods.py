"""The RPCs of the control service."""

from dataclasses import dataclass

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from podwright.control import v1

SERVICE = "podwright.v1.Control"


@dataclass(frozen=True, slots=True)
class ControlMethod:
    """One RPC."""

    name: str
    request: type[Message]
    response: type[Message]
    streams: bool
    missing_is_success: bool = False
    finishes_alone: bool = False

    @property
    def path(self) -> str:
        """The gRPC path."""
        return f"/{SERVICE}/{self.name}"


METHODS: dict[str, ControlMethod] = {
    described.name: ControlMethod(
        described.name,
        GetMessageClass(described.input_type),
        GetMessageClass(described.output_type),
        described.server_streaming,
    )
    for described in v1.DESCRIPTOR.services_by_name["Control"].methods
}
"""By name."""
