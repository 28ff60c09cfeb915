"""CheckpointPod and RestorePod."""

from collections.abc import Mapping

from podwright.core.runtime import Runtime
from podwright.core.sandbox_checkpoint import checkpoint_sandbox
from podwright.core.sandbox_restore import restore_sandbox
from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.server.dispatch import Call


async def checkpoint_pod(runtime: Runtime, request: v1.CheckpointPodRequest, _call: Call) -> v1.CheckpointPodResponse:
    """Writes running containers of a pod into a directory, all of one moment; they run on."""
    _check_options(request.options)
    sandbox = runtime.index.sandbox(request.pod_sandbox_id)
    await checkpoint_sandbox(runtime, sandbox, list(request.container_ids), request.output_path)
    return v1.CheckpointPodResponse()


async def restore_pod(runtime: Runtime, request: v1.RestorePodRequest, _call: Call) -> v1.RestorePodResponse:
    """Makes a sandbox and its containers from such a directory; what they were doing goes on when they are started."""
    _check_options(request.options)
    if not request.HasField("config"):
        raise InvalidArgument("config is missing")
    sandbox_id = await restore_sandbox(runtime, request)
    containers = runtime.index.sandbox(sandbox_id).containers.values()
    return v1.RestorePodResponse(
        pod_sandbox_id=sandbox_id,
        restored_containers=[
            v1.RestoredContainer(name=container.config.metadata.name, container_id=container.id)
            for container in containers
        ],
    )


def _check_options(options: Mapping[str, str]) -> None:
    """There are none yet; one that is ignored would be worse than a refusal."""
    if options:
        raise InvalidArgument(f"options: {', '.join(sorted(options))}: there are no such options")
