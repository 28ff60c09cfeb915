"""Writes a typed method for each RPC into the clients, below a line that says so.

What they are called and take comes from cri/v1.proto, their docstrings are its comments. `make proto` runs it;
`--check` fails when the committed files are not what it would write.
"""

import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from podwright.cri.methods import METHODS, Method

PACKAGE = Path(__file__).resolve().parent.parent / "src/podwright"
MARKER = "    # ---- written by tools/make_client.py; run `make proto` after a change of v1.proto\n"

REQUIRED = {
    *("container_id", "pod_sandbox_id", "config", "image", "cmd", "port", "location", "output_path"),
    *("checkpoint_path", "runtime_config"),
}
"""Fields that a call makes no sense without; protobuf does not know of any."""

SCALARS = {
    FieldDescriptor.TYPE_STRING: ("str", '""'),
    FieldDescriptor.TYPE_BOOL: ("bool", "False"),
    FieldDescriptor.TYPE_INT32: ("int", "0"),
    FieldDescriptor.TYPE_INT64: ("int", "0"),
}


def comments() -> dict[str, str]:
    """What v1.proto says above each RPC."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "v1.binpb")
        arguments = [f"--proto_path={PACKAGE}/cri", f"--descriptor_set_out={output}", "--include_source_info"]
        if protoc.main(["protoc", *arguments, "v1.proto"]) != 0:
            sys.exit("protoc failed")
        (file,) = FileDescriptorSet.FromString(output.read_bytes()).file
    found = {}
    for location in file.source_code_info.location:
        match list(location.path):
            case [6, service, 2, method]:  # FileDescriptorProto.service, ServiceDescriptorProto.method
                name = file.service[service].method[method].name
                found[name] = " ".join(location.leading_comments.split())
    return found


def _type(field: FieldDescriptor) -> tuple[str, str]:
    """A field's type for checkers, and what it is when not given."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        return "Mapping[str, str] | None", "None"
    if message is not None:
        name = f"v1.{message.name}"
        if field.is_repeated:
            return f"Iterable[{name}]", "()"
        return (f"str | {name}" if name == "v1.ImageSpec" else name) + " | None", "None"
    name, default = SCALARS[field.type]
    return (f"Iterable[{name}]", "()") if field.is_repeated else (name, default)


def _parameter(field: FieldDescriptor) -> str:
    kind, default = _type(field)
    if field.name in REQUIRED:
        return f"{field.name}: {kind.removesuffix(' | None')}"
    return f"{field.name}: {kind} = {default}"


def _value(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.name == "ImageSpec":
        return f"{field.name}=v1.ImageSpec(image={field.name}) if isinstance({field.name}, str) else {field.name}"
    return f"{field.name}={field.name}"


def _docstring(comment: str) -> str:
    if len(comment) <= 120 - 8 - 6:
        return f'"""{comment}"""'
    summary, dot, rest = comment.partition(". ")  # a summary of its own, then the rest
    head = textwrap.wrap(f'"""{summary}{dot.rstrip()}', 112, subsequent_indent=" " * 8)
    body = textwrap.wrap(rest, 112, initial_indent=" " * 8, subsequent_indent=" " * 8)
    return "\n".join([*head, *([""] if body else []), *body, " " * 8 + '"""'])


def _method(method: Method, comment: str, *, asynchronous: bool) -> str:
    fields = cast("list[FieldDescriptor]", list(method.request.DESCRIPTOR.fields))
    # What an RPC cannot do without comes first and needs no name, a filter neither; the rest is said by name.
    named = next((index for index, field in enumerate(fields) if field.name not in REQUIRED), len(fields))
    parameters = ["self", *map(_parameter, fields)]
    parameters.insert(1 + (named or min(1, len(fields))), "*")
    request, response = method.request.DESCRIPTOR.name, method.response.DESCRIPTOR.name
    returned = f"v1.{response}"
    if method.streams:
        returned = f"AsyncIterator[{returned}]" if asynchronous else f"Iterator[{returned}]"
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method.name).lower()
    head = "async def" if asynchronous and not method.streams else "def"
    answer = f'self._{"stream" if method.streams else "unary"}("{method.name}", request, v1.{response}, deadline)'
    awaited = "await " if head == "async def" else ""
    doc = _docstring(comment)
    return f"""
    {head} {snake}({", ".join(parameters)}, deadline: float | None = None) -> {returned}:
        {doc}
        request = v1.{request}({", ".join(map(_value, fields))})
        return {awaited}{answer}
"""


def written(path: Path, documentation: dict[str, str], *, asynchronous: bool) -> str:
    """The contents that `path` should have."""
    by_hand = path.read_text().partition(MARKER)[0]
    methods = [_method(method, documentation[method.name], asynchronous=asynchronous) for method in METHODS.values()]
    command = [sys.executable, "-m", "ruff", "format", "--quiet", f"--stdin-filename={path}", "-"]
    return subprocess.run(
        command, input=by_hand + MARKER + "".join(methods), capture_output=True, text=True, check=True
    ).stdout


def main() -> None:
    """Writes the clients, or compares them with --check."""
    documentation = comments()
    for name in ("sync", "aio"):
        path = PACKAGE / "client" / f"{name}.py"
        content = written(path, documentation, asynchronous=name == "aio")
        if "--check" not in sys.argv:
            path.write_text(content)
        elif path.read_text() != content:
            sys.exit(f"{path} is not what v1.proto gives: run `make proto`")


if __name__ == "__main__":
    main()
