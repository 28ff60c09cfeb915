"""UpdateContainerResources: new limits, in the cgroup, in the record, and so in ContainerStatus."""

import asyncio
import logging

from podwright.core.container_restore import write_limits
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import FailedPrecondition, Internal
from podwright.oci import resources
from podwright.oci.documents import Document
from podwright.state.records import Container
from podwright.trace import step

logger = logging.getLogger(__name__)


async def update_container(runtime: Runtime, container: Container, wanted: v1.LinuxContainerResources) -> None:
    """Changes those limits that `wanted` sets, or what plugins make of it; zero and empty leave one as it is.

    Raises InvalidArgument, FailedPrecondition if the container has exited or a plugin refuses.
    """
    resources.check(wanted, "linux")
    _check_living(container)
    await change_limits(runtime, container, *await runtime.nri.update_container(container, wanted))
    await runtime.nri.post_update_container(container)


def _check_living(container: Container) -> None:
    if container.status.phase not in ("created", "running"):
        raise FailedPrecondition(f"container {container.title} is {container.status.phase}: it has no limits to change")


async def change_limits(
    runtime: Runtime, container: Container, wanted: v1.LinuxContainerResources, more: Document
) -> None:
    """Changes limits without asking plugins. `more` is a part of linux.resources that the CRI has no words for.

    Raises as update_container does.
    """
    resources.check(wanted, "linux")
    async with container.lock:
        _check_living(container)
        merged = resources.merged(v1.LinuxContainerResources.FromString(container.status.resources), wanted)
        notes: list[str] = []
        document = resources.document(merged, runtime.host, notes)
        resources.put(document, more)
        with step("container.update", container.id):
            if container.status.process is None:
                await asyncio.to_thread(write_limits, runtime.paths.bundle(container.id), document)
            else:
                await runtime.handler_of(container).runtime.update(container.id, document)
                if merged.cpu_quota < 0 and not runtime.host.v2:
                    await _lift_cpu_quota(runtime, container)
        await runtime.index.update_container(container, resources=merged.SerializeToString())
    for note in notes:
        logger.info("container %s: %s", container.title, note)


async def _lift_cpu_quota(runtime: Runtime, container: Container) -> None:
    try:
        await asyncio.to_thread(runtime.host.cgroups.lift_cpu_quota, container.status.cgroup)
    except OSError as error:
        raise Internal(f"cannot lift the CPU quota of container {container.title}: {error}") from error
