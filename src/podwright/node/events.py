"""Events: what happens to pods and to the node, told to people. Owns no way to an API server."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from podwright.node.node_pods import NodePod

logger = logging.getLogger(__name__)

Kind = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True)
class About:
    """What an event is about (ObjectReference)."""

    kind: str
    name: str
    namespace: str
    uid: str
    field_path: str = ""

    @classmethod
    def pod(cls, pod: NodePod, path: str = "", container: str = "") -> "About":
        """A pod, or one of its containers: `path` is that of the list it is in."""
        field_path = f"{path.partition('[')[0]}{{{container}}}" if container else ""
        return cls("Pod", pod.name, pod.namespace, pod.uid, field_path)


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    about: About
    kind: Kind
    reason: str
    message: str


@dataclass(slots=True)
class Recorder:
    """Where events are told to."""

    listeners: list[Callable[[Event], None]] = field(default_factory=list)

    def tell(self, about: About, kind: Kind, reason: str, message: str) -> None:
        """Writes an event to the log and tells the listeners."""
        level = logging.WARNING if kind == "Warning" else logging.INFO
        name = f"{about.namespace}/{about.name}" if about.namespace else about.name
        name += f" {about.field_path}" if about.field_path else ""
        logger.log(level, "%s %s: %s: %s", about.kind.lower(), name, reason, message)
        for listener in self.listeners:
            listener(Event(about, kind, reason, message))
