"""ListPodSandbox and StreamPodSandboxes."""

from collections.abc import AsyncIterator, Iterable

from podwright.core import messages
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.server.portions import portions_of_bytes
from podwright.state.index import matches_labels
from podwright.state.records import Sandbox


async def list_pod_sandbox(runtime: Runtime, request: v1.ListPodSandboxRequest, _call: Call) -> bytes:
    """Sandboxes that match all the conditions, from memory."""
    return b"".join(messages.listed_sandbox(sandbox) for sandbox in select(runtime, request.filter))


async def stream_pod_sandboxes(
    runtime: Runtime, request: v1.StreamPodSandboxesRequest, _call: Call
) -> AsyncIterator[bytes]:
    """The same in portions. The items are framed alike: they are field 1 of both responses."""
    for portion in portions_of_bytes([messages.listed_sandbox(s) for s in select(runtime, request.filter)]):
        yield portion


def select(runtime: Runtime, wanted: v1.PodSandboxFilter) -> list[Sandbox]:
    """The sandboxes that match the filter; an id may be cut short."""
    found: Iterable[Sandbox] = runtime.index.visible_sandboxes()
    if wanted.id:
        found = (s for s in found if s.id.startswith(wanted.id))
    if wanted.HasField("state"):
        found = (s for s in found if messages.sandbox_state(s) == wanted.state.state)
    if wanted.label_selector:
        found = (s for s in found if matches_labels(s.config.labels, wanted.label_selector))
    return list(found)
