"""The questions of the cAdvisor inside a kubelet (cadvisor/v1.proto), which gives cgroups the names of pods by them.

Without an answer, /metrics/cadvisor has the figures of no container. cAdvisor asks when it sees a new cgroup, which is
while the container is being made: so those are told of too.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from podwright import __version__
from podwright.cadvisor import v1
from podwright.core.runtime import Runtime
from podwright.errors import NotFound
from podwright.server.dispatch import Call, Streaming, Unary
from podwright.state.records import Container, Sandbox

KIND = "io.cri-containerd.kind"
"""cAdvisor reads the network of a "sandbox" only (containerd/handler.go)."""
SPEC = "types.containerd.io/opencontainers/runtime-spec/1/Spec"
TASK_STATES = {"created": v1.CREATED, "starting": v1.CREATED, "running": v1.RUNNING}


async def version(_runtime: Runtime, _request: v1.VersionRequest, _call: Call) -> v1.VersionResponse:
    """Says that somebody is there."""
    return v1.VersionResponse(version=__version__)


async def get_container(runtime: Runtime, request: v1.GetContainerRequest, _call: Call) -> v1.GetContainerResponse:
    """The container, or the process 1 of a sandbox, with that whole id."""
    found = _find(runtime, request.id)
    if isinstance(found, Container):
        kind, image, bundle = "container", found.facts.image_name, runtime.paths.bundle(found.id)
    else:
        kind, image, bundle = "sandbox", "", runtime.paths.infra_bundle(found.id)
    labels = {**found.config.labels, KIND: kind}
    spec = v1.Spec(type_url=SPEC, value=await asyncio.to_thread(_spec, bundle))
    return v1.GetContainerResponse(container=v1.Container(id=found.id, labels=labels, image=image, spec=spec))


async def get_task(runtime: Runtime, request: v1.GetTaskRequest, _call: Call) -> v1.GetTaskResponse:
    """Its process. cAdvisor asks again where there is none yet."""
    found = _find(runtime, request.container_id)
    if isinstance(found, Sandbox):
        process, state, exit_status = found.status.infra, v1.RUNNING, 0
    else:
        process, exit_status = found.status.process, found.status.exit_code
        state = TASK_STATES.get(found.status.phase, v1.STOPPED)
    if process is None:
        raise NotFound(f'task "{found.id}" not found')
    return v1.GetTaskResponse(process=v1.Process(id=found.id, pid=process.pid, status=state, exit_status=exit_status))


def _find(runtime: Runtime, whole_id: str) -> Container | Sandbox:
    found = runtime.index.containers.get(whole_id) or runtime.index.sandboxes.get(whole_id)
    if found is None:
        raise NotFound(f'container "{whole_id}" not found')
    return found


def _spec(bundle: str) -> bytes:
    with contextlib.suppress(FileNotFoundError), open(f"{bundle}/config.json", "rb") as file:
        return file.read()
    return b"{}"  # after a reboot


HANDLERS: Mapping[str, Mapping[str, Unary | Streaming]] = {
    "containerd.services.version.v1.Version": {"Version": version},
    "containerd.services.containers.v1.Containers": {"Get": get_container},
    "containerd.services.tasks.v1.Tasks": {"Get": get_task},
}
"""By service and RPC."""
