"""ListContainers."""

from podwright.core import messages
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.state.index import matches_labels
from podwright.state.records import Container


async def list_containers(runtime: Runtime, request: v1.ListContainersRequest, _call: Call) -> bytes:
    """Containers that match all the conditions, from memory."""
    return b"".join(messages.listed_container(container) for container in select(runtime, request.filter))


def select(runtime: Runtime, wanted: v1.ContainerFilter) -> list[Container]:
    """The containers that match the filter; ids may be cut short."""
    return [
        container
        for container in runtime.index.visible_containers()
        if (not wanted.id or container.id.startswith(wanted.id))
        and (not wanted.pod_sandbox_id or container.sandbox.id.startswith(wanted.pod_sandbox_id))
        and (not wanted.HasField("state") or messages.container_state(container) == wanted.state.state)
        and (not wanted.label_selector or matches_labels(container.config.labels, wanted.label_selector))
    ]
