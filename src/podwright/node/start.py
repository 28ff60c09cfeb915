"""The first words between a node and its runtime. What fails here ends the process before any node is registered.

The order and the tries are those of kubelet 1.36; its error texts begin ours, so that searches for them help.
"""

import asyncio
import logging
from typing import Final

from podwright.client import AsyncClient, ConnectionFailed, NoCommonVersion
from podwright.cri import v1
from podwright.errors import FailedPrecondition, PodwrightError, Unimplemented

logger = logging.getLogger(__name__)

_TRIES: Final = 3
_PAUSE: Final = 2.0  # seconds


async def negotiate(cri: AsyncClient) -> v1.VersionResponse:
    """Agrees on a version with both services, and returns what the runtime says of itself.

    Raises ConnectionFailed, NoCommonVersion or FailedPrecondition.
    """
    try:
        await cri.connect()
    except (ConnectionFailed, NoCommonVersion) as error:
        raise type(error)(f"validate service connection: {error}") from error
    version = await cri.version("0.1.0")
    if version.version != "0.1.0" or not (version.runtime_name and version.runtime_version):
        raise FailedPrecondition(
            f'runtime version not supported: it says "{version.version}", "{version.runtime_name}", '
            f'"{version.runtime_version}", where kubelets want 0.1.0, a name and a version'
        )
    return version


async def cgroup_driver(cri: AsyncClient, configured: str) -> str:
    """The runtime's cgroup driver, or the configured one where it does not tell. Raises what it fails with."""
    for left in reversed(range(_TRIES)):
        try:
            answer = await cri.runtime_config()
        except Unimplemented:
            logger.info("the runtime does not tell its cgroup driver: using cgroupDriver %s", configured)
            return configured
        except PodwrightError as error:
            if not left:
                raise type(error)(f"failed to get the runtime's configuration: {error}") from error
            await asyncio.sleep(_PAUSE)
        else:
            driver = "cgroupfs" if answer.linux.cgroup_driver == v1.CGROUPFS else "systemd"
            if driver != configured:
                logger.info("the runtime's cgroup driver is %s, whatever cgroupDriver says", driver)
            return driver
    raise AssertionError("unreachable")
