"""RemovePodSandbox."""

from podwright.core.runtime import Runtime
from podwright.core.sandbox_remove import remove_sandbox
from podwright.cri import v1
from podwright.server.dispatch import Call


async def remove_pod_sandbox(
    runtime: Runtime, request: v1.RemovePodSandboxRequest, _call: Call
) -> v1.RemovePodSandboxResponse:
    """Deletes the sandbox and its containers, whatever their state."""
    await remove_sandbox(runtime, runtime.index.sandbox(request.pod_sandbox_id))
    return v1.RemovePodSandboxResponse()
