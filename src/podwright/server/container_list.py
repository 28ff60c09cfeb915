"""ListContainers and StreamContainers."""

from collections.abc import AsyncIterator, Iterable

from podwright.core import messages
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.server.portions import portions_of_bytes
from podwright.state.index import matches_labels
from podwright.state.records import Container


async def list_containers(runtime: Runtime, request: v1.ListContainersRequest, _call: Call) -> bytes:
    """Containers that match all the conditions, from memory."""
    return b"".join(messages.listed_container(container) for container in select(runtime, request.filter))


async def stream_containers(runtime: Runtime, request: v1.StreamContainersRequest, _call: Call) -> AsyncIterator[bytes]:
    """The same in portions. The items are framed alike: they are field 1 of both responses."""
    for portion in portions_of_bytes([messages.listed_container(c) for c in select(runtime, request.filter)]):
        yield portion


def select(runtime: Runtime, wanted: v1.ContainerFilter) -> list[Container]:
    """The containers that match the filter; ids may be cut short."""
    found: Iterable[Container] = runtime.index.visible_containers()
    # Only the conditions that are set are looked at: mostly there is none, and a thousand containers.
    if wanted.id:
        found = (c for c in found if c.id.startswith(wanted.id))
    if wanted.pod_sandbox_id:
        found = (c for c in found if c.sandbox.id.startswith(wanted.pod_sandbox_id))
    if wanted.HasField("state"):
        found = (c for c in found if messages.container_state(c) == wanted.state.state)
    if wanted.label_selector:
        found = (c for c in found if matches_labels(c.config.labels, wanted.label_selector))
    return list(found)
