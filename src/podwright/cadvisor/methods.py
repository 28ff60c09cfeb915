"""The RPCs, by the services that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from podwright.cadvisor import v1


@dataclass(frozen=True, slots=True)
class Question:
    """One RPC."""

    name: str
    request: type[Message]
    response: type[Message]
    streams: bool = False
    missing_is_success: bool = False
    finishes_alone: bool = False


SERVICES: Mapping[str, Sequence[Question]] = {
    "containerd.services.version.v1.Version": [Question("Version", v1.VersionRequest, v1.VersionResponse)],
    "containerd.services.containers.v1.Containers": [Question("Get", v1.GetContainerRequest, v1.GetContainerResponse)],
    "containerd.services.tasks.v1.Tasks": [Question("Get", v1.GetTaskRequest, v1.GetTaskResponse)],
}
