"""How much a tree of files takes. Standard library only: the worker program uses it too."""

import os
import stat
from typing import NamedTuple


class Usage(NamedTuple):
    """What du(1) says of a tree, and the bytes in its regular files."""

    size: int
    """Bytes on disk."""
    inodes: int
    content: int


def usage(root: str) -> Usage:
    """Counts all below `root` and the directory itself; files with several names once."""
    blocks, inodes, content = os.lstat(root).st_blocks, 1, 0
    linked: set[int] = set()
    stack = [root]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    stack.append(entry.path)
                elif found.st_nlink > 1:
                    if found.st_ino in linked:
                        continue
                    linked.add(found.st_ino)
                blocks += found.st_blocks
                inodes += 1
                if stat.S_ISREG(found.st_mode):
                    content += found.st_size
    return Usage(blocks * 512, inodes, content)
