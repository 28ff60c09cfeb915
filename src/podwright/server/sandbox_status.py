"""PodSandboxStatus."""

import json
from typing import Any

import msgspec
from google.protobuf.json_format import MessageToDict

from podwright.clock import now_ns
from podwright.core import messages
from podwright.core.runtime import Runtime
from podwright.core.sandbox_update import present_config
from podwright.cri import v1
from podwright.server.dispatch import Call
from podwright.server.timeline import timeline
from podwright.state.records import Sandbox


async def pod_sandbox_status(
    runtime: Runtime, request: v1.PodSandboxStatusRequest, _call: Call
) -> v1.PodSandboxStatusResponse:
    """The sandbox and its containers at one moment."""
    sandbox = runtime.index.sandbox(request.pod_sandbox_id)
    return v1.PodSandboxStatusResponse(
        status=messages.sandbox_status(sandbox),
        info={"info": json.dumps(_info(runtime, sandbox))} if request.verbose else None,
        containers_statuses=messages.container_statuses(sandbox),
        timestamp=now_ns(),
    )


def _info(runtime: Runtime, sandbox: Sandbox) -> dict[str, Any]:
    """For people and scripts; the keys are those that users of containerd know, where there is such a thing."""
    return {
        "pid": sandbox.status.infra.pid if sandbox.status.infra else 0,
        "processStatus": "running" if sandbox.status.phase == "ready" else "deleted",
        "runtimeHandler": sandbox.facts.requested_handler,
        "runtimeType": sandbox.facts.handler,
        "cgroupParent": sandbox.facts.cgroup_parent,
        "namespaces": {
            resource.args["kind"]: resource.args["path"]
            for resource in runtime.ledger.of(sandbox.id)
            if resource.kind == "pin"
        },
        "config": MessageToDict(present_config(sandbox), preserving_proto_field_name=True),
        "timeline": timeline(runtime, sandbox.id),
        "cniResult": _network(runtime, sandbox),
    }


def _network(runtime: Runtime, sandbox: Sandbox) -> object:
    attachment = runtime.network.get(sandbox.id)
    return msgspec.to_builtins(attachment) if attachment else None
