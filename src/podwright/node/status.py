"""The status of a pod (PodStatus) out of what runs. Pure.

Phases, states and conditions are the kubelet's (pkg/kubelet/kubelet_pods.go, pkg/kubelet/status/generate.go).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podwright.cri import v1
from podwright.node import qos
from podwright.node.conditions import Condition, condition, timed
from podwright.node.node_pods import NodePod
from podwright.node.observed import SeenContainer, SeenPod
from podwright.node.plan import is_sidecar, policy, should_run
from podwright.node.times import rfc3339
from podwright.pods.schema import Container

Status = dict[str, Any]

OWN_CONDITIONS: Final = frozenset(
    {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "DisruptionTarget"}
)
"""The types that a node writes; all others in the list are for others to write, such as readiness gates."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a status tells beside what runs."""

    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Why a container is not started, by its name: reason and message."""
    ready: Callable[[SeenContainer, Container], bool] = lambda _seen, _wanted: True
    """Whether a running container passes its readiness probe."""
    started: Callable[[SeenContainer, Container], bool] = lambda _seen, _wanted: True
    """Whether a running container has come through its startup probe."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """Termination messages by container id."""
    host_addresses: tuple[str, ...] = ()
    runtime: str = ""
    """The runtime's name, that stands before ids."""
    failed: tuple[str, str] | None = None
    """Reason and message of a pod that was given up."""
    ending: bool = False


def make(pod: NodePod, seen: SeenPod, known: Knowledge, old: Mapping[str, Any], now_ns: int) -> Status:
    """The status, with the conditions that are the node's; `old` is the one before, or what the API server has."""
    spec, now = pod.pod.spec, rfc3339(now_ns)
    init = [_container(pod, seen, item, known, initialising=True) for item in spec.init_containers]
    main = [_container(pod, seen, item, known, initialising=False) for item in spec.containers]
    result: Status = {
        "phase": _phase(pod, seen, init, main, known),
        "startTime": old.get("startTime") or now,
        "qosClass": qos.of(pod.pod),
        "hostIP": known.host_addresses[0] if known.host_addresses else "",
        "hostIPs": [{"ip": address} for address in known.host_addresses],
        "containerStatuses": main,
    }
    if init:
        result["initContainerStatuses"] = init
    if spec.ephemeral_containers:
        result["ephemeralContainerStatuses"] = [_ephemeral(seen, item, known) for item in spec.ephemeral_containers]
    addresses = known.host_addresses if spec.host_network and seen.sandboxes else seen.addresses
    if addresses:
        result["podIP"], result["podIPs"] = addresses[0], [{"ip": address} for address in addresses]
    if known.failed is not None:
        result["reason"], result["message"] = known.failed
    conditions = [*_conditions(pod, seen, result, init, main), *_disruption(known.failed)]
    result["conditions"] = timed(conditions, old.get("conditions") or (), now)
    return result


def refused(reason: str, message: str, old: Mapping[str, Any], now_ns: int) -> Status:
    """The status of a pod that cannot be run here at all."""
    return {
        "phase": "Failed",
        "reason": reason,
        "message": message,
        "startTime": old.get("startTime") or rfc3339(now_ns),
        "conditions": timed([condition("PodScheduled", true=True)], old.get("conditions") or (), rfc3339(now_ns)),
    }


def shown(status: Mapping[str, Any], document: Mapping[str, Any]) -> Status:
    """The status with the conditions that others have written into the pod's document."""
    others = of_others(document)
    return {**status, "conditions": [*status.get("conditions", ()), *others]} if others else dict(status)


def of_others(document: Mapping[str, Any]) -> list[Condition]:
    """The conditions that others have written into a pod's document."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    return [item for item in conditions if item["type"] not in OWN_CONDITIONS]


def is_terminal(status: Mapping[str, Any]) -> bool:
    """Whether the pod will never run again."""
    return status.get("phase") in {"Succeeded", "Failed"}


def _container(
    pod: NodePod, seen: SeenPod, wanted: Container, known: Knowledge, *, initialising: bool
) -> dict[str, Any]:
    found, before = seen.latest(wanted.name), seen.before(wanted.name)
    held_up = bool(pod.pod.spec.init_containers) and not initialising
    result = _as_it_is(found, wanted, known, "PodInitializing" if held_up else "ContainerCreating")
    if found is None:
        return result
    if before is not None and before.ended:
        result["lastState"] = _state(before, known)
    if found.running:
        result["started"] = known.started(found, wanted)
        result["ready"] = result["started"] and known.ready(found, wanted)
    elif initialising and not is_sidecar(wanted):
        result["ready"] = found.ended and found.status.exit_code == 0
    again = is_sidecar(wanted) or should_run(pod.pod, found)
    if not found.running and wanted.name in known.waiting and again and not known.ending:
        if found.ended:
            result["lastState"] = result["state"]
        result["state"] = _waiting(*known.waiting[wanted.name])
    return result


def _ephemeral(seen: SeenPod, wanted: Container, known: Knowledge) -> dict[str, Any]:
    """It is never ready, and never started again."""
    return _as_it_is(seen.latest(wanted.name), wanted, known, "ContainerCreating")


def _as_it_is(found: SeenContainer | None, wanted: Container, known: Knowledge, reason: str) -> dict[str, Any]:
    """What the runtime has of a container; `reason` is why it has nothing, if nothing else is known of it."""
    result: dict[str, Any] = {
        "name": wanted.name,
        "image": wanted.image,
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": reason}},
        "lastState": {},
    }
    if found is not None:
        return result | _made(found, wanted, known)
    if wanted.name in known.waiting:
        result["state"] = _waiting(*known.waiting[wanted.name])
    return result


def _made(found: SeenContainer, wanted: Container, known: Knowledge) -> dict[str, Any]:
    """What the runtime says of a container."""
    status = found.status
    result: dict[str, Any] = {
        "image": status.image.user_specified_image or status.image.image or wanted.image,
        "imageID": status.image_ref,
        "containerID": f"{known.runtime}://{status.id}",
        "restartCount": status.metadata.attempt,
        "state": _state(found, known),
    }
    if status.HasField("user") and status.user.HasField("linux"):
        linux = status.user.linux
        result["user"] = {
            "linux": {"uid": linux.uid, "gid": linux.gid, "supplementalGroups": list(linux.supplemental_groups)}
        }
    return result


def _waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def _state(found: SeenContainer, known: Knowledge) -> dict[str, Any]:
    status = found.status
    if found.running:
        return {"running": {"startedAt": rfc3339(status.started_at)}}
    if status.state == v1.CONTAINER_CREATED:
        return {"waiting": {"reason": "ContainerCreating"}}
    result: dict[str, Any] = {
        "exitCode": status.exit_code,
        "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
        "containerID": f"{known.runtime}://{status.id}",
    }
    message = known.messages.get(status.id) or status.message
    if message:
        result["message"] = message
    if status.started_at:
        result["startedAt"] = rfc3339(status.started_at)
    if status.finished_at:
        result["finishedAt"] = rfc3339(status.finished_at)
    return {"terminated": result}


def _phase(
    pod: NodePod, seen: SeenPod, init: list[dict[str, Any]], main: list[dict[str, Any]], known: Knowledge
) -> str:
    if known.failed is not None:
        return "Failed"
    restarts = policy(pod.pod)
    pending = False
    for wanted, shown in zip(pod.pod.spec.init_containers, init, strict=True):
        terminated = shown["state"].get("terminated") or shown["lastState"].get("terminated")
        if is_sidecar(wanted):
            pending |= not shown["started"] and not _any_begun(main)
        elif terminated is None or "running" in shown["state"]:
            pending |= not _any_begun(main)
        elif terminated["exitCode"] != 0:
            if restarts == "Never":
                return "Failed"
            pending = True
    states = [shown["state"] for shown in main]
    waiting = [shown for shown in main if "waiting" in shown["state"] and "terminated" not in shown["lastState"]]
    if pending or waiting:
        if known.ending and not seen.running and seen.sandboxes and not waiting:
            return "Failed"
        return "Pending"
    if any("running" in state for state in states) or restarts == "Always":
        if known.ending and not any("running" in state for state in states):
            return _ended_phase(main)
        return "Running"
    if any("waiting" in state for state in states):
        return "Running"
    if all(state["terminated"]["exitCode"] == 0 for state in states):
        return "Succeeded"
    return "Failed" if restarts == "Never" else "Running"


def _any_begun(main: list[dict[str, Any]]) -> bool:
    return any("containerID" in shown for shown in main)


def _ended_phase(main: list[dict[str, Any]]) -> str:
    codes = [
        (shown["state"].get("terminated") or shown["lastState"].get("terminated") or {"exitCode": 137})["exitCode"]
        for shown in main
    ]
    return "Succeeded" if not any(codes) else "Failed"


def _conditions(
    pod: NodePod, seen: SeenPod, status: Status, init: list[dict[str, Any]], main: list[dict[str, Any]]
) -> list[Condition]:
    done = status["phase"] == "Succeeded"
    unready_init = [
        shown["name"]
        for wanted, shown in zip(pod.pod.spec.init_containers, init, strict=True)
        if not (shown["started"] if is_sidecar(wanted) else shown["ready"])
    ]
    initialised = not unready_init or _any_begun(main)
    unready = [shown["name"] for shown in [*_sidecars(pod, init), *main] if not shown["ready"]]
    if done:
        reason, message = "PodCompleted", ""
    elif status["phase"] == "Failed":
        reason, message = "PodFailed", ""
    else:
        reason = "ContainersNotReady" if unready else ""
        message = f"containers with unready status: [{' '.join(unready)}]" if unready else ""
    ready = not unready and status["phase"] == "Running"
    gates = [gate.condition_type for gate in pod.pod.spec.readiness_gates]
    return [
        condition("PodReadyToStartContainers", true=seen.ready),
        condition("Initialized", true=True, reason="PodCompleted" if done else "")
        if initialised
        else condition(
            "Initialized",
            true=False,
            reason="ContainersNotInitialized",
            message=f"containers with incomplete status: [{' '.join(unready_init)}]",
        ),
        _ready(pod, ready, reason, message, gates),
        condition("ContainersReady", true=ready, reason="" if ready else reason, message="" if ready else message),
        condition("PodScheduled", true=True),
    ]


def _disruption(failed: tuple[str, str] | None) -> list[Condition]:
    """By which controllers tell a pod that the node has ended from one that has failed (podFailurePolicy)."""
    if failed is None or failed[0] != "Evicted":
        return []
    return [condition("DisruptionTarget", true=True, reason="TerminationByKubelet", message=failed[1])]


def _ready(pod: NodePod, ready: bool, reason: str, message: str, gates: list[str]) -> Condition:
    """Ready, which also waits for the conditions that others set."""
    set_by_others = {item["type"]: item["status"] for item in of_others(pod.document)}
    missing = [gate for gate in gates if set_by_others.get(gate) != "True"]
    if ready and missing:
        message = "; ".join(f'the status of pod readiness gate "{gate}" is not "True"' for gate in missing)
        return condition("Ready", true=False, reason="ReadinessGatesNotReady", message=message)
    return condition("Ready", true=ready, reason="" if ready else reason, message="" if ready else message)


def _sidecars(pod: NodePod, init: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [shown for wanted, shown in zip(pod.pod.spec.init_containers, init, strict=True) if is_sidecar(wanted)]
