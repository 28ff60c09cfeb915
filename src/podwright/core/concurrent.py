"""Several works side by side, all of which come to their end whatever becomes of the others.

Unlike a TaskGroup, which cancels the rest at the first failure: half-done work on the host helps nobody.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def all_of(works: Iterable[Awaitable[T]]) -> list[T]:
    """Returns the results in order. Raises the first failure when all have ended; the others become its notes."""
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        for other in failures[1:]:
            failures[0].add_note(f"and: {other}")
        raise failures[0]
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
