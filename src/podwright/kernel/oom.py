"""Kills for lack of memory, out of the kernel's log.

For cgroups that are gone, and their counts with them: systemd removes a scope in the moment in which its last process
ends, mostly before anybody can read its memory.events.
"""

import errno
import os

_RECORD = 8192  # the longest that the kernel gives at once (kernel/printk, CONSOLE_EXT_LOG_MAX)


def was_logged(cgroup: str) -> bool:
    """Whether the kernel has logged, and still remembers, a kill in the cgroup or below it. Blocking.

    The line is `oom-kill:constraint=...,task_memcg=/a/b,task=...` (mm/oom_kill.c; Linux 5.0 and up). Of more than ten
    kills in five seconds, on the whole machine, not all are logged. A cgroup's path must never have been used before.
    Raises OSError if the log cannot be read.
    """
    exactly, below = f",task_memcg={cgroup},".encode(), f",task_memcg={cgroup}/".encode()
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        while True:
            try:
                record = os.read(fd, _RECORD)
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno == errno.EPIPE:  # it was overwritten before we came to it; the next is there
                    continue
                raise
            if b"oom-kill:" in record and (exactly in record or below in record):
                return True
    finally:
        os.close(fd)
