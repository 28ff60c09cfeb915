"""Plugins that outlived the daemon which started them.

A daemon killed during an ADD leaves its plugin running. A DEL beside it could end first, and what the ADD then takes
would never be given back: so such plugins are ended before.
"""

import contextlib
import logging
import os
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
                _end(process.Pid.of(pid), sandbox_id)


def _end(plugin: process.Pid, sandbox_id: str) -> None:
    logger.warning("ending plugin %d, left over from an earlier daemon, of sandbox %s", plugin.pid, sandbox_id)
    os.killpg(plugin.pid, signal.SIGKILL)
    if not plugin.wait(_SECONDS):
        logger.warning("plugin %d has not ended within %g seconds after its kill", plugin.pid, _SECONDS)
