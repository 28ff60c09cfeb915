"""`podwright events`: what happens to pods and containers, a line each, as it happens."""

import argparse
import json
from typing import Final

from podwright.cli.connection import connect
from podwright.cli.messages import plain
from podwright.cri import v1
from podwright.ids import short
from podwright.wire.cri_log import format_time

_WORDS: Final = {
    v1.CONTAINER_CREATED_EVENT: "created",
    v1.CONTAINER_STARTED_EVENT: "started",
    v1.CONTAINER_STOPPED_EVENT: "stopped",
    v1.CONTAINER_DELETED_EVENT: "deleted",
}


def events(options: argparse.Namespace) -> int:
    """Prints events until it is interrupted or the runtime leaves, beginning with those that the runtime still has."""
    names: dict[str, str] = {}
    with connect(options) as cri:
        for event in cri.get_container_events():
            if options.output == "json":
                print(json.dumps(plain(event), ensure_ascii=False), flush=True)
            else:
                print(_line(event, names), flush=True)
    return 0


def _line(event: v1.ContainerEventResponse, names: dict[str, str]) -> str:
    """`names` keeps those of containers, which the event of their deletion no longer has."""
    metadata = event.pod_sandbox_status.metadata
    pod = f"{metadata.namespace}/{metadata.name}"
    for status in event.containers_statuses:
        names[status.id] = status.metadata.name
    is_pod = event.container_id == event.pod_sandbox_status.id
    kind, name = ("pod", pod) if is_pod else ("container", f"{pod}/{names.get(event.container_id, '?')}")
    word = _WORDS.get(event.container_event_type, str(event.container_event_type))
    if event.container_event_type == v1.CONTAINER_DELETED_EVENT:
        names.pop(event.container_id, None)
    return f"{format_time(event.created_at)}  {word}  {kind:9}  {name}  {short(event.container_id)}{_how(event)}"


def _how(event: v1.ContainerEventResponse) -> str:
    """How a container ended."""
    if event.container_event_type == v1.CONTAINER_STOPPED_EVENT:
        for status in event.containers_statuses:
            if status.id == event.container_id:
                return f"  {status.reason or 'exit code'} ({status.exit_code})"
    return ""
