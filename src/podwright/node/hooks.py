"""Lifecycle hooks: what is done right after a container has started, and before it is stopped."""

import asyncio
from typing import Final

from podwright.client import AsyncClient
from podwright.node import actions
from podwright.node.actions import Outcome
from podwright.pods.schema import Container, Handler

_HTTP_SECONDS: Final = 30.0


async def run(cri: AsyncClient, handler: Handler, container: Container, container_id: str, address: str) -> Outcome:
    """Carries out a hook. It may take any time; who has a deadline sets it."""
    if handler.exec is not None:
        return await actions.execute(cri, container_id, handler.exec, 0)
    if handler.http_get is not None:
        return await actions.http_get(handler.http_get, container, address, _HTTP_SECONDS)
    if handler.sleep is not None:
        await asyncio.sleep(handler.sleep.seconds)
        return Outcome(good=True)
    return Outcome(good=False, output="tcpSocket is not supported as a lifecycle hook")
