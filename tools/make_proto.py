"""Compiles each v1.proto into v1.binpb (a FileDescriptorSet) and v1.pyi (types for checkers) beside it.

`make proto` runs it; `--check` fails when the committed files are not what it would write. grpcio-tools is pinned in
pyproject.toml, so that everyone's output is the same.
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

SOURCES = Path(__file__).resolve().parent.parent / "src/podwright"


def compile_proto(directory: Path, into: Path) -> dict[str, bytes]:
    """Returns the contents of the generated files by name."""
    status = protoc.main(
        [
            "protoc",
            f"--proto_path={directory}",
            f"--descriptor_set_out={into}/v1.binpb",
            f"--pyi_out={into}",
            "v1.proto",
        ]
    )
    if status != 0:
        sys.exit(f"protoc failed with status {status}")
    return {"v1.binpb": (into / "v1.binpb").read_bytes(), "v1.pyi": (into / "v1_pb2.pyi").read_bytes()}


def main() -> None:
    """Writes the generated files, or compares them with --check."""
    for proto in SOURCES.glob("*/v1.proto"):
        with tempfile.TemporaryDirectory() as scratch:
            generated = compile_proto(proto.parent, Path(scratch))
        for name, content in generated.items():
            target = proto.parent / name
            if "--check" not in sys.argv:
                target.write_bytes(content)
            elif not target.exists() or target.read_bytes() != content:
                sys.exit(f"{target} is not what {proto} gives: run `make proto`")


if __name__ == "__main__":
    main()
