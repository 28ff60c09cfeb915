"""Stands in for an OCI runtime that can leave a process running (`exec --detach`) but not hand its terminal over and
wait for it (runc).

A program of its own, run as `python -I -S reaper.py PIDFILE COMMAND…`: the process that COMMAND leaves behind becomes
its child, since it is the nearest subreaper, and it ends with that process's exit code. Standard library only, and as
little of it as can be.
"""

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h


def main(pid_file: str, command: list[str]) -> int:
    """Returns the exit status: the process's, 128 + n after signal n; or the command's, if it has run nothing."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runtime = os.posix_spawnp(command[0], command, os.environ)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # the process's: they must not be open here when it closes them
        os.dup2(null, stream)
    status = _code(os.waitpid(runtime, 0)[1])
    if status != 0:
        return status
    with open(pid_file, encoding="ascii") as file:
        process = int(file.read())
    while True:
        ended, status = os.wait()  # those whom the process leaves behind as well
        if ended == process:
            return _code(status)


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
