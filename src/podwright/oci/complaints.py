"""The words of OCI runtimes (crun, runc) about what they cannot do: is it the request's mistake, and which field's?

Some mistakes pass validate.py because only the image or the kernel knows: a command that is not there, a mount on a
file, a CPU that the host lacks. Then these words are all that tells them from a failure of the node.
"""

import json
import re

_LOG_LINE = re.compile(r'time="[^"]*" level=(?:error|fatal) msg=(?P<text>"(?:[^"\\]|\\.)*")')

_FIELDS = (
    ("command", re.compile(r'executable file|open executable|exec: "')),
    ("working_dir", re.compile(r"chdir|init: mkdir /")),
    ("mounts", re.compile(r"mount `|mkdir `|error mounting")),
    ("linux.resources", re.compile(r"(cpuset|cpu|memory|pids|hugetlb)\.[a-z]")),
)

_MISTAKES = re.compile(
    r"not found|no such file or directory|not a directory|is a directory|file exists|too many levels|"
    r"permission denied|operation not permitted|invalid argument|out of range|exec format error",
    re.IGNORECASE,
)
"""What the kernel says of such mistakes; not that a disk is full, or something busy."""

_BUSY = re.compile("resource busy", re.IGNORECASE)


def plain(words: str) -> str:
    """The words without the form of log lines, in which runc says them."""
    found = _LOG_LINE.search(words)
    return str(json.loads(found["text"])) if found else words.strip()


def field_at_fault(words: str) -> str:
    """The field of the CRI that the words blame; empty if they blame none."""
    if not _MISTAKES.search(words):
        return ""
    return next((field for field, pattern in _FIELDS if pattern.search(words)), "")


def is_busy(words: str) -> bool:
    """Whether something is in use that would have to be free."""
    return _BUSY.search(words) is not None
