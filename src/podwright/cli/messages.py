"""CRI messages as plain values, for JSON and YAML.

Names are in camel case as crictl writes them, enums are names, times are RFC 3339, numbers are numbers. Unlike in
protobuf's own JSON, everything but absent messages is there, so that scripts need no defaults.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from podwright.wire.cri_log import format_time

_TIMES: Final = frozenset({"created_at", "started_at", "finished_at", "timestamp"})


def plain(message: Message) -> dict[str, object]:
    """A message as a dictionary."""
    result: dict[str, object] = {}
    for field in cast("Iterable[FieldDescriptor]", message.DESCRIPTOR.fields):
        value: Any = getattr(message, field.name)
        if _is_map(field):
            result[field.json_name] = dict(sorted(value.items()))
        elif field.is_repeated:
            result[field.json_name] = [_value(field, item) for item in value]
        elif field.message_type is None or message.HasField(field.name):
            result[field.json_name] = _value(field, value)
    return result


def verbose_info(info: Mapping[str, str]) -> object:
    """The texts of a verbose answer, read where they are JSON. The one called "info" alone is given as it is."""
    parsed = {name: _parsed(text) for name, text in info.items()}
    return parsed["info"] if set(parsed) == {"info"} else parsed


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _value(field: FieldDescriptor, value: object) -> object:
    if field.message_type is not None:
        return plain(cast("Message", value))
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(cast("int", value))
        return known.name if known else value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if field.name in _TIMES:
        return format_time(cast("int", value)) if value else None
    return value
