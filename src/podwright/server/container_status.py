"""ContainerStatus."""

import asyncio
import json
from typing import Any

from google.protobuf.json_format import MessageToDict

from podwright.core import messages
from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.server.timeline import timeline
from podwright.state.records import Container


async def container_status(
    runtime: Runtime, request: v1.ContainerStatusRequest, _call: Call
) -> v1.ContainerStatusResponse:
    """The container as it is, from memory."""
    container = runtime.index.container(request.container_id)
    info = None
    if request.verbose:
        info = {"info": json.dumps(await asyncio.to_thread(_info, runtime, container))}
    return v1.ContainerStatusResponse(status=messages.container_status(container), info=info)


def _info(runtime: Runtime, container: Container) -> dict[str, Any]:
    """For people and scripts; the keys are those that users of containerd know, where there is such a thing."""
    try:
        with open(f"{runtime.paths.bundle(container.id)}/config.json", "rb") as file:
            spec = json.load(file)
    except FileNotFoundError:  # after a reboot
        spec = None
    return {
        "sandboxID": container.sandbox.id,
        "pid": container.status.process.pid if container.status.process else 0,
        "removing": container.status.phase == "removing",
        "runtimeType": container.facts.handler,
        "cgroup": container.status.cgroup,
        "rootfs": runtime.paths.rootfs(container.id),
        "config": MessageToDict(container.config, preserving_proto_field_name=True),
        "timeline": timeline(runtime, container.id),
        "runtimeSpec": spec,
    }
