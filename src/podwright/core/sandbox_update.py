"""UpdatePodSandboxResources: the pod's sums after a resize, for the record.

The kubelet has changed the pod's cgroup by itself when it calls, and changes the containers' limits afterwards; what
is left to a runtime is to know the new sums. They are shown by a verbose PodSandboxStatus.
"""

import logging

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import FailedPrecondition
from podwright.oci import resources
from podwright.state.records import Sandbox

logger = logging.getLogger(__name__)


async def update_sandbox(runtime: Runtime, sandbox: Sandbox, wanted: v1.UpdatePodSandboxResourcesRequest) -> None:
    """Takes the new sums and overhead. Raises InvalidArgument, FailedPrecondition if the sandbox is not ready."""
    resources.check(wanted.resources, "resources")
    resources.check(wanted.overhead, "overhead")
    async with sandbox.lock:
        if sandbox.status.phase != "ready":
            raise FailedPrecondition(f"sandbox {sandbox.title} is {sandbox.status.phase}: only a ready one is resized")
        await runtime.nri.update_sandbox(sandbox, wanted)
        await runtime.index.update_sandbox(sandbox, resources=wanted.SerializeToString())
    await runtime.nri.post_update_sandbox(sandbox)
    logger.info("sandbox %s has new resources", sandbox.title)


def present_config(sandbox: Sandbox) -> v1.PodSandboxConfig:
    """What was asked for when the sandbox was made, with the sums of the last resize."""
    if not sandbox.status.resources:
        return sandbox.config
    config = v1.PodSandboxConfig()
    config.CopyFrom(sandbox.config)
    update = v1.UpdatePodSandboxResourcesRequest.FromString(sandbox.status.resources)
    if update.HasField("resources"):
        config.linux.resources.CopyFrom(update.resources)
    if update.HasField("overhead"):
        config.linux.overhead.CopyFrom(update.overhead)
    return config
