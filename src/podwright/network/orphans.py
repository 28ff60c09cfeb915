"""Plugins that outlived the daemon which started them.

A daemon killed during an ADD leaves its plugin running. A DEL beside it could end first, and what the ADD then takes
would never be given back: so such plugins are ended before.
"""

import contextlib
import logging
import os
import select
import signal

from podwright.kernel import process

logger = logging.getLogger(__name__)

_SECONDS = 5.0


def end_orphans(sandbox_id: str) -> None:
    """Kills the plugins that still work for the sandbox, with their children, and waits for their end; blocking.

    kernel/run.py makes each plugin the leader of a session, so that helpers which a plugin has left behind for good
    (they detach from the session) are not meant.
    """
    running = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    for pid in process.with_environment(running, f"CNI_CONTAINERID={sandbox_id}".encode()):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == pid:
                _end(pid, sandbox_id)


def _end(pid: int, sandbox_id: str) -> None:
    fd = os.pidfd_open(pid)
    try:
        logger.warning("ending plugin %d, left over from an earlier daemon, of sandbox %s", pid, sandbox_id)
        os.killpg(pid, signal.SIGKILL)
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(_SECONDS * 1000):
            logger.warning("plugin %d has not ended within %g seconds after its kill", pid, _SECONDS)
    finally:
        os.close(fd)
