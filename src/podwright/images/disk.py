"""What a full disk is called."""

import contextlib
import errno
from collections.abc import Iterator

from podwright.errors import ResourceExhausted


@contextlib.contextmanager
def room_for(what: str) -> Iterator[None]:
    """Turns the OSError of a full disk or quota into ResourceExhausted, saying what there was no room for."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceExhausted(f"no space left for {what}") from error
        raise
