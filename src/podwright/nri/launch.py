"""Plugins that lie in a directory and are started with the daemon: with a connected socket, which their environment
names (github.com/containerd/nri, pkg/api/plugin.go).
"""

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from podwright.errors import InvalidArgument
from podwright.kernel.run import run
from podwright.nri.plugin import check_identity

logger = logging.getLogger(__name__)

_SOCKET, _NAME, _INDEX = "NRI_PLUGIN_SOCKET", "NRI_PLUGIN_NAME", "NRI_PLUGIN_IDX"
_STDERR = 2
"""Ours: a plugin's words go to our log."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A program in the directory."""

    path: str
    index: str
    name: str
    config: str
    """What it is configured with."""


def find(directory: str, config_directory: str) -> list[Installed]:
    """The plugins that are installed, called <two digits>-<name>; none where there is no directory. Blocking."""
    found = []
    for file in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
        path = os.path.join(directory, file)
        if not os.path.isfile(path) or not os.access(path, os.X_OK):
            continue
        index, _, name = file.partition("-")
        try:
            check_identity(index, name)
            config = _config(config_directory, (file, name))
        except (InvalidArgument, OSError, UnicodeDecodeError) as error:
            logger.error("NRI plugin %s is left out: %s", path, error)  # noqa: TRY400  the words say it all
            continue
        found.append(Installed(path, index, name, config))
    return found


def _config(directory: str, names: tuple[str, ...]) -> str:
    """The first of the files <name>.conf; empty if there is none."""
    for name in names:
        try:
            with open(f"{directory}/{name}.conf", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            pass
    return ""


async def serve(plugin: Installed, theirs: socket.socket) -> None:
    """Runs the plugin on its end of a pair of sockets, which is closed here, until it ends; cancelled, kills it.

    Raises Internal if it cannot be started.
    """
    environment: Mapping[str, str] = {
        _SOCKET: str(theirs.fileno()),
        _NAME: plugin.name,
        _INDEX: plugin.index,
    }
    with theirs:
        ended = await run(
            [plugin.path],
            environment=environment,
            pass_fds=[theirs.fileno()],
            stderr=_STDERR,
            started=lambda _: theirs.close(),
        )
    logger.warning("NRI plugin %s has ended with status %d", plugin.path, ended.status)
