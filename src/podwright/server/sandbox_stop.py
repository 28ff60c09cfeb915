"""StopPodSandbox."""

from podwright.core.runtime import Runtime
from podwright.core.sandbox_stop import stop_sandbox
from podwright.cri import v1
from podwright.server.dispatch import Call


async def stop_pod_sandbox(
    runtime: Runtime, request: v1.StopPodSandboxRequest, _call: Call
) -> v1.StopPodSandboxResponse:
    """Kills what runs in the sandbox and gives its network back."""
    await stop_sandbox(runtime, runtime.index.sandbox(request.pod_sandbox_id))
    return v1.StopPodSandboxResponse()
