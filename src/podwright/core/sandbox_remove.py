"""RemovePodSandbox: stop it, remove its containers, forget it."""

from podwright.core.concurrent import all_of
from podwright.core.container_remove import remove_container
from podwright.core.runtime import Runtime
from podwright.core.sandbox_stop import stop_sandbox
from podwright.state.records import Sandbox


async def remove_sandbox(runtime: Runtime, sandbox: Sandbox) -> None:
    """Removes the sandbox with all that belongs to it; may be repeated."""
    await stop_sandbox(runtime, sandbox)
    async with sandbox.lock:
        if sandbox.id not in runtime.index.sandboxes:  # another call was quicker
            return
        await runtime.index.update_sandbox(sandbox, phase="removing")
        await all_of(remove_container(runtime, c) for c in list(sandbox.containers.values()))
        await runtime.nri.remove_sandbox(sandbox)
        await runtime.ledger.release(sandbox.id)
        await runtime.index.drop_sandbox(sandbox)


async def remove_by_id(runtime: Runtime, sandbox_id: str) -> None:
    """Removes the sandbox with this id, if there is one."""
    sandbox = runtime.index.sandboxes.get(sandbox_id)
    if sandbox is not None:
        await remove_sandbox(runtime, sandbox)
