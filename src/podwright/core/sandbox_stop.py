"""StopPodSandbox: kill the containers, give the network back, let the namespaces go."""

import asyncio

from podwright.core.container_stop import kill_container
from podwright.core.ledger import Kind
from podwright.core.runtime import Runtime
from podwright.state.records import Sandbox
from podwright.trace import step

LIVE: set[Kind] = {"container", "network", "pin", "mount"}
"""What only a ready sandbox needs."""


async def stop_sandbox(runtime: Runtime, sandbox: Sandbox) -> None:
    """Stops the sandbox; may be repeated, and takes up where an attempt that failed left off."""
    async with sandbox.lock:
        if sandbox.status.phase == "ready":
            # First of all, so that no container is made from now on: container_create looks again when it is done.
            await runtime.index.update_sandbox(sandbox, phase="stopped")
        with step("sandbox.kill", sandbox.id):
            # The network needs the namespace, not the processes: both at once.
            await asyncio.gather(
                runtime.network.detach(sandbox.id),
                *(kill_container(runtime, container) for container in list(sandbox.containers.values())),
            )
        await runtime.ledger.release(sandbox.id, LIVE)
