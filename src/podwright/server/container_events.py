"""GetContainerEvents."""

from collections.abc import AsyncIterator

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call


async def get_container_events(runtime: Runtime, _request: v1.GetEventsRequest, _call: Call) -> AsyncIterator[bytes]:
    """What happens to sandboxes and containers, beginning with the last minutes."""
    async for event in runtime.events.subscribe():
        yield event
