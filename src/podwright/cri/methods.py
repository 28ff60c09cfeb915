"""The RPCs of CRI: one table for both API versions, for the server and for the client.

Owns what is true of an RPC whoever serves it; nothing here runs anything.
"""

from dataclasses import dataclass
from typing import Literal

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from podwright.cri import v1

ServiceName = Literal["RuntimeService", "ImageService"]
ApiVersion = Literal["v1", "v1alpha2"]

API_VERSIONS: tuple[ApiVersion, ...] = ("v1", "v1alpha2")
"""Newest first."""

_V1ALPHA2 = frozenset(
    {
        # runtime.v1alpha2 as cri-api 0.25, the last with it, has it
        *(
            "Version",
            "Status",
            "UpdateRuntimeConfig",
            "RunPodSandbox",
            "StopPodSandbox",
            "RemovePodSandbox",
            "PodSandboxStatus",
        ),
        *("ListPodSandbox", "CreateContainer", "StartContainer", "StopContainer", "RemoveContainer", "ListContainers"),
        *(
            "ContainerStatus",
            "UpdateContainerResources",
            "ReopenContainerLog",
            "ExecSync",
            "Exec",
            "Attach",
            "PortForward",
        ),
        *("ContainerStats", "ListContainerStats", "PodSandboxStats", "ListPodSandboxStats"),
        *("ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo"),
    }
)

_MISSING_IS_SUCCESS = frozenset(
    # The protocol's comments: "this call is idempotent, and must not return an error if the object does not exist".
    {"StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer", "RemoveImage"}
)

_FINISHES_ALONE = frozenset(
    # They change the host. A kubelet's deadline ends its waiting, not the work. RunPodSandbox, CreateContainer and
    # RestorePod are not here: what they make has a name by which the next try finds it (core/operations.py). Nor are
    # CheckpointContainer and CheckpointPod, which are given up when nobody waits for them.
    {
        *("StopPodSandbox", "RemovePodSandbox", "StartContainer", "StopContainer", "RemoveContainer", "RemoveImage"),
        *("UpdateContainerResources", "ReopenContainerLog", "UpdateRuntimeConfig", "UpdatePodSandboxResources"),
    }
)


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC."""

    name: str
    service: ServiceName
    request: type[Message]
    response: type[Message]
    streams: bool
    """The answer is a stream of responses."""
    versions: tuple[ApiVersion, ...]
    """The API versions that have it, newest first."""
    missing_is_success: bool
    """If the object does not exist the call has already done its work."""
    finishes_alone: bool
    """The work goes on when the caller has left."""

    def path(self, version: ApiVersion) -> str:
        """The gRPC path, such as /runtime.v1.RuntimeService/Version."""
        return f"/runtime.{version}.{self.service}/{self.name}"


def _method(service: ServiceName, described: MethodDescriptor) -> Method:
    name = described.name
    return Method(
        name=name,
        service=service,
        request=GetMessageClass(described.input_type),
        response=GetMessageClass(described.output_type),
        streams=described.server_streaming,
        versions=API_VERSIONS if name in _V1ALPHA2 else ("v1",),
        missing_is_success=name in _MISSING_IS_SUCCESS,
        finishes_alone=name in _FINISHES_ALONE,
    )


_SERVICES: tuple[ServiceName, ...] = ("RuntimeService", "ImageService")

METHODS: dict[str, Method] = {
    described.name: _method(service, described)
    for service in _SERVICES
    for described in v1.DESCRIPTOR.services_by_name[service].methods
}
"""All RPCs by name. No name occurs in both services."""
