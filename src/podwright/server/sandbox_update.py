"""UpdatePodSandboxResources."""

from podwright.core.runtime import Runtime
from podwright.core.sandbox_update import update_sandbox
from podwright.cri import v1
from podwright.server.dispatch import Call


async def update_pod_sandbox_resources(
    runtime: Runtime, request: v1.UpdatePodSandboxResourcesRequest, _call: Call
) -> v1.UpdatePodSandboxResourcesResponse:
    """Takes the pod's new sums of resources."""
    await update_sandbox(runtime, runtime.index.sandbox(request.pod_sandbox_id), request)
    return v1.UpdatePodSandboxResourcesResponse()
