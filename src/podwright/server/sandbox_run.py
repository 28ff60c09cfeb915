"""RunPodSandbox."""

from podwright.core.runtime import Runtime
from podwright.core.sandbox_run import run_sandbox
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def run_pod_sandbox(runtime: Runtime, request: v1.RunPodSandboxRequest, _call: Call) -> v1.RunPodSandboxResponse:
    """Makes a sandbox; ready when this answers."""
    if not request.HasField("config"):
        raise InvalidArgument("config is missing")
    sandbox_id = await run_sandbox(runtime, request.config, request.runtime_handler)
    return v1.RunPodSandboxResponse(pod_sandbox_id=sandbox_id)
