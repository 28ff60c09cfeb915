"""The messages and enums of CRI v1, as classes.

They come from v1.binpb, the compiled v1.proto, and not from generated Python: generated code refuses every protobuf
library but its own generation, a descriptor set loads on all of them. v1.pyi tells type checkers what is here.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

_files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_suffix(".binpb").read_bytes())
_pool = descriptor_pool.DescriptorPool()  # our own: the default one may hold another CRI, from a library of the user's
_pool.Add(_files.file[0])
DESCRIPTOR = _pool.FindFileByName(_files.file[0].name)

for _name, _message in DESCRIPTOR.message_types_by_name.items():
    globals()[_name] = message_factory.GetMessageClass(_message)
for _name, _enum in DESCRIPTOR.enum_types_by_name.items():
    globals()[_name] = enum_type_wrapper.EnumTypeWrapper(_enum)
    for _value in _enum.values:
        globals()[_value.name] = _value.number
