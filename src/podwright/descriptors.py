"""Message classes out of compiled .proto files.

Generated Python refuses every protobuf library but that of its own generation; a descriptor set loads on all of them.
Type checkers read the .pyi beside it.
"""

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper


def load(compiled: Path) -> dict[str, Any]:
    """The messages, enums and enum values of the file, by name, and its descriptor as DESCRIPTOR."""
    (described,) = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file
    pool = (
        descriptor_pool.DescriptorPool()
    )  # our own: the default one may hold another CRI, from a library of the user's
    pool.Add(described)
    file = pool.FindFileByName(described.name)
    names: dict[str, Any] = {"DESCRIPTOR": file}
    for name, message in file.message_types_by_name.items():
        names[name] = message_factory.GetMessageClass(message)
    for name, enum in file.enum_types_by_name.items():
        names[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        names.update((value.name, value.number) for value in enum.values)
    return names
