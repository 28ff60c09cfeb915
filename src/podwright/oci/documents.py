"""Documents of the OCI runtime specification, version 1.0.2, which older and newer runtimes read.

https://github.com/opencontainers/runtime-spec
"""

import json
from typing import Any

from podwright.errors import InvalidArgument

OCI_VERSION = "1.0.2"

Document = dict[str, Any]
"""A JSON object, or a part of one."""


def dump(document: Document) -> bytes:
    """The text for a file. Raises InvalidArgument for a text that is not UTF-8, since no OCI runtime takes it."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        around = error.object[max(0, error.start - 60) : error.start + 20]
        raise InvalidArgument(f"not UTF-8, and so not for an OCI runtime: {around!r}") from None


def write(document: Document, path: str) -> None:
    """Writes the text to a file. Blocking. Raises as `dump` does, and OSError."""
    text = dump(document)
    with open(path, "wb") as file:
        file.write(text)


def without_empty(document: Document) -> Document:
    """Leaves out what is absent: OCI runtimes differ in what they make of null and of empty texts and lists."""
    return {key: value for key, value in document.items() if value not in (None, "", [], {})}
