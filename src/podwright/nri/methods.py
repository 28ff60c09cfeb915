"""The calls of NRI by name, and which event each is for."""

from collections.abc import Mapping

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from podwright.nri import v1


def _methods(service: ServiceDescriptor) -> Mapping[str, tuple[type[Message], type[Message]]]:
    return {m.name: (GetMessageClass(m.input_type), GetMessageClass(m.output_type)) for m in service.methods}


_SERVICES = v1.DESCRIPTOR.services_by_name
PLUGIN_SERVICE, RUNTIME_SERVICE = _SERVICES["Plugin"].full_name, _SERVICES["Runtime"].full_name
PLUGIN_METHODS, RUNTIME_METHODS = _methods(_SERVICES["Plugin"]), _methods(_SERVICES["Runtime"])
"""Request and response of each, by name."""

EVENTS: Mapping[int, str] = {
    number: "".join(word.capitalize() for word in name.split("_")) for name, number in v1.Event.items() if number
}
"""The name of the call for each event."""

ALL_EVENTS = (1 << len(EVENTS)) - 1
"""The mask of all events."""

ONCE_STATE_CHANGES = frozenset(
    event
    for event, method in EVENTS.items()
    if PLUGIN_METHODS[method][1] is PLUGIN_METHODS["StateChange"][1] and event != v1.UPDATE_POD_SANDBOX
)
"""Events of which plugins of older versions are told by StateChange."""
