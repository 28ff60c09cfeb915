"""ListPodSandbox."""

from podwright.core import messages
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.state.index import matches_labels
from podwright.state.records import Sandbox


async def list_pod_sandbox(runtime: Runtime, request: v1.ListPodSandboxRequest, _call: Call) -> bytes:
    """Sandboxes that match all the conditions, from memory."""
    return b"".join(messages.listed_sandbox(sandbox) for sandbox in select(runtime, request.filter))


def select(runtime: Runtime, wanted: v1.PodSandboxFilter) -> list[Sandbox]:
    """The sandboxes that match the filter; an id may be cut short."""
    return [
        sandbox
        for sandbox in runtime.index.visible_sandboxes()
        if (not wanted.id or sandbox.id.startswith(wanted.id))
        and (not wanted.HasField("state") or messages.sandbox_state(sandbox) == wanted.state.state)
        and (not wanted.label_selector or matches_labels(sandbox.config.labels, wanted.label_selector))
    ]
