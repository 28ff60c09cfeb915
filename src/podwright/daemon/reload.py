"""SIGHUP: the configuration file is read again. What can change is how much is logged; the rest waits for the next
start, which touches no container.
"""

import logging

import msgspec

from podwright import log
from podwright.daemon import config as configuration
from podwright.daemon.config import Config
from podwright.errors import PodwrightError

logger = logging.getLogger(__name__)


def reload(running: Config, source: str | None) -> None:
    """Takes over what the file says of logs, and says in which other tables it differs from what is in force.

    `source` as in config.load. A file with a mistake changes nothing.
    """
    try:
        config = configuration.load(source)
    except PodwrightError as error:
        logger.warning("the configuration stays as it is: %s", error)
        return
    log.setup(config.log.level, config.log.format)
    tables = [field.name for field in msgspec.structs.fields(Config) if field.name != "log"]
    changed = [table for table in tables if getattr(config, table) != getattr(running, table)]
    logger.warning(
        "the log is as configured now%s", f"; a restart is needed for {', '.join(changed)}" if changed else ""
    )
