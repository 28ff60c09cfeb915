"""StopPodSandbox: kill the containers, give the network back, let the namespaces go."""

from podwright.core.concurrent import all_of
from podwright.core.container_remove import kill_container
from podwright.core.container_stop import stop_container
from podwright.core.ledger import Kind
from podwright.core.runtime import Runtime
from podwright.state.records import Sandbox
from podwright.trace import step

LIVE: set[Kind] = {"container", "network", "pin", "mount"}
"""What only a ready sandbox needs."""


async def stop_sandbox(runtime: Runtime, sandbox: Sandbox) -> None:
    """Stops the sandbox; may be repeated, and takes up where an attempt that failed left off."""
    if sandbox.checkpoints:
        # It holds the locks, and may have long to write; without its containers it fails at once.
        running = [container for container in sandbox.containers.values() if container.status.phase == "running"]
        await all_of(stop_container(runtime, container, 0) for container in running)
    async with sandbox.lock:
        if sandbox.status.phase == "ready":
            # First of all, so that no container is made from now on: container_create looks again when it is done.
            await runtime.index.update_sandbox(sandbox, phase="stopped")
        with step("sandbox.kill", sandbox.id):
            if runtime.nri.has_plugins:  # they are told between the end of the containers and that of the network
                await _kill_all(runtime, sandbox)
            await runtime.nri.stop_sandbox(sandbox)
            # The network needs the namespace, not the processes: both at once.
            await all_of([runtime.network.detach(sandbox.id), _kill_all(runtime, sandbox)])
        await runtime.ledger.release(sandbox.id, LIVE)


async def _kill_all(runtime: Runtime, sandbox: Sandbox) -> None:
    """Kills the containers, then process 1 of their PID namespace, which would take them along unrecorded."""
    await all_of(kill_container(runtime, container) for container in list(sandbox.containers.values()))
    await runtime.ledger.release(sandbox.id, {"container"})
