"""Termination messages: the last words of a container, from a file of its own or from its log. Blocks.

terminationMessagePolicy File                    what it wrote to terminationMessagePath
terminationMessagePolicy FallbackToLogsOnError   that, or after a failure the end of its log
"""

import collections
import os
import secrets
from typing import Final

from podwright.cri import v1
from podwright.wire.cri_log import LogReader, Malformed

PATH: Final = "io.kubernetes.container.terminationMessagePath"
POLICY: Final = "io.kubernetes.container.terminationMessagePolicy"

_LONGEST: Final = 4096  # bytes of a file
_LONGEST_LOG, _MOST_LINES = 2048, 80
_WINDOW: Final = 64 << 10


def make_file(directory: str) -> str:
    """An empty file that any user of the container can write to."""
    os.makedirs(directory, mode=0o750, exist_ok=True)
    path = f"{directory}/{secrets.token_hex(4)}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.fchmod(fd, 0o666)  # open heeds the umask
    finally:
        os.close(fd)
    return path


def message(status: v1.ContainerStatus) -> str:
    """The last words of a container that has ended; empty if it left none."""
    wanted = status.annotations.get(PATH, "")
    host_path = next((mount.host_path for mount in status.mounts if wanted and mount.container_path == wanted), "")
    text = _head(host_path) if host_path else ""
    if text or status.annotations.get(POLICY) != "FallbackToLogsOnError" or status.exit_code == 0:
        return text
    return _tail(status.log_path)


def _head(path: str) -> str:
    """O_NOFOLLOW, for the container may put anything there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _LONGEST).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _WINDOW))
            data = file.read()
    except OSError:
        return ""
    if size > len(data):
        data = data.partition(b"\n")[2]
    reader = LogReader()
    entries = [*reader.receive(data), *reader.finish()]
    lines = collections.deque((entry.text for entry in entries if not isinstance(entry, Malformed)), maxlen=_MOST_LINES)
    return b"".join(line + b"\n" for line in lines)[-_LONGEST_LOG:].decode(errors="replace")
