"""StartContainer."""

import logging

from podwright.clock import now_ns
from podwright.core import container_restore, exits
from podwright.core.container_create import creation
from podwright.core.runtime import Runtime
from podwright.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.state.records import Container
from podwright.trace import step

logger = logging.getLogger(__name__)


async def start_container(runtime: Runtime, container: Container) -> None:
    """Runs the command of a created container. Raises FailedPrecondition in any other state.

    If the OCI runtime fails, or has refused the container when it was created (InvalidArgument), it ends as EXITED
    with reason StartError, as kubelets know it.
    """
    async with container.lock:
        phase = container.status.phase
        if phase != "created":
            raise FailedPrecondition(f"container {container.title} is {phase}: only a created one can be started")
        if container.sandbox.status.phase != "ready":
            raise FailedPrecondition(f"the sandbox of container {container.title} is not ready")
        if container.sandbox.checkpoints:
            raise FailedPrecondition(f"the pod of container {container.title} is being checkpointed: try again")
        if container.status.refusal:
            await exits.end_unstarted(runtime, container, "StartError", container.status.refusal)
            raise InvalidArgument(container.status.refusal)
        handler = runtime.handler_of(container)
        if container.facts.restores:
            await runtime.nri.start_container(container)
            await container_restore.resume(runtime, container, creation(runtime, container, handler))
            await runtime.nri.post_start_container(container)
            logger.info("container %s runs on", container.title)
            return
        # Written down first: a daemon that is killed meanwhile has the time when it comes back.
        await runtime.index.update_container(container, phase="starting", started_at=now_ns())
        try:
            await runtime.nri.start_container(container)
            with step("container.start", container.id):
                await handler.runtime.start(container.id)
        except PodwrightError as error:
            # Its conmon sees it end and exits.py, which waits for the lock, records the rest.
            assert container.status.process is not None
            container.status.process.kill()
            await runtime.index.update_container(container, reason="StartError", message=str(error))
            raise
        await runtime.index.update_container(container, phase="running")
        await runtime.nri.post_start_container(container)
    logger.info("container %s is running", container.title)
