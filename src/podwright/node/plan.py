"""What is to be done about a pod: its specification and what runs in, steps out. Pure; carries nothing out.

The rules are the kubelet's computePodActions (pkg/kubelet/kuberuntime): a sandbox first, init containers one after the
other with sidecars beside them, then all containers; ended ones start again as restartPolicy says. Ephemeral
containers start as soon as there is a sandbox, and once.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from podwright.node.observed import SeenContainer, SeenPod
from podwright.pods.schema import Container, Pod

HASH: Final = "io.kubernetes.container.hash"


@dataclass(frozen=True, slots=True)
class Start:
    """A container to make and start."""

    path: str
    """In the pod's specification."""
    container: Container
    attempt: int


@dataclass(frozen=True, slots=True)
class Stop:
    """A container to stop."""

    container: SeenContainer
    reason: Literal["Unhealthy", "SpecChanged"]
    message: str
    grace: int | None = None
    """Seconds; None: those of the pod."""


@dataclass(frozen=True, slots=True)
class Unhealthy:
    """A container that a probe wants to be restarted."""

    message: str
    grace: int | None = None
    """The probe's own terminationGracePeriodSeconds."""


@dataclass(slots=True)
class Plan:
    """The steps, in this order."""

    end: bool = False
    """Everything is to be stopped: the sandbox is of no use, or all work is done."""
    sandbox_attempt: int | None = None
    """Not None: a sandbox is to be made, as the how manieth."""
    stop: list[Stop] = field(default_factory=list)
    start: list[Start] = field(default_factory=list)
    waiting: dict[str, float] = field(default_factory=dict)
    """Containers that are to start when their back-off is over: time.time() seconds."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan depends on beside the pod and what runs."""

    now: float
    """time.time(), seconds."""
    due: Callable[[str, float], float]
    """When a container that ended at some time may start again."""
    unhealthy: Mapping[str, Unhealthy] = field(default_factory=dict)
    """By container id."""
    started: Callable[[SeenContainer, Container], bool] = lambda _seen, _wanted: True
    """Whether a running container has come through its startup probe."""


def content_hash(container: Container) -> str:
    """What a running container was made of; another hash means that it is to be made anew."""
    return hashlib.sha256(msgspec.json.encode([container.name, container.image])).hexdigest()[:8]


def is_sidecar(container: Container) -> bool:
    """Whether an init container goes on running beside the others."""
    return container.restart_policy == "Always"


def policy(pod: Pod) -> str:
    """The restart policy; none means Always."""
    return pod.spec.restart_policy or "Always"


def should_run(pod: Pod, found: SeenContainer | None) -> bool:
    """Whether a container that does not run is to be started, by the pod's restart policy."""
    if found is None or not found.ended:  # created and never started counts as not there
        return True
    match policy(pod):
        case "Never":
            return False
        case "OnFailure":
            return found.status.exit_code != 0
    return True


def plan(pod: Pod, seen: SeenPod, at: Circumstances) -> Plan:
    """The steps for a pod that is to run."""
    made = Plan()
    if not _sandbox_is_usable(pod, seen):
        _begin_anew(pod, seen, at, made)
        return made
    made.start += [
        Start(f"spec.ephemeralContainers[{index}]", container, 0)
        for index, container in enumerate(pod.spec.ephemeral_containers)
        if seen.latest(container.name) is None
    ]
    initialised = _initialise(pod, seen, at, made)
    if initialised == "failed":
        made.end = True
    elif initialised == "done":
        _run_containers(pod, seen, at, made)
    if made.end:
        made.start.clear()
    return made


def _sandbox_is_usable(pod: Pod, seen: SeenPod) -> bool:
    return seen.ready and (pod.spec.host_network or bool(seen.addresses))


def _begin_anew(pod: Pod, seen: SeenPod, at: Circumstances, made: Plan) -> None:
    """There is no sandbox, or it has died: everything that still has a reason to run starts in a new one."""
    made.end = bool(seen.sandboxes)
    wanted = [
        Start(f"spec.containers[{index}]", container, _next_attempt(seen, container.name))
        for index, container in enumerate(pod.spec.containers)
        if should_run(pod, seen.latest(container.name))
    ]
    if not wanted or (policy(pod) == "Never" and seen.containers):
        return
    made.sandbox_attempt = seen.sandboxes[0].metadata.attempt + 1 if seen.sandboxes else 0
    if pod.spec.init_containers:
        first = pod.spec.init_containers[0]
        wanted = [Start("spec.initContainers[0]", first, _next_attempt(seen, first.name))]
    for start in wanted:
        _start_when_due(seen.latest(start.container.name), start, at, made)


def _initialise(pod: Pod, seen: SeenPod, at: Circumstances, made: Plan) -> Literal["done", "waiting", "failed"]:
    """Goes through the init containers."""
    later = any(seen.current(container.name) for container in pod.spec.containers)
    for index, wanted in enumerate(pod.spec.init_containers):
        found = seen.current(wanted.name)
        start = Start(f"spec.initContainers[{index}]", wanted, _next_attempt(seen, wanted.name))
        if is_sidecar(wanted):
            _keep(pod, found, start, at, made)
            if not later and (found is None or not found.running or not at.started(found, wanted)):
                return "waiting"
            continue
        if later or (found is not None and found.ended and found.status.exit_code == 0):
            continue
        if found is not None and found.running:
            return "waiting"
        if found is not None and found.ended and policy(pod) == "Never":
            return "failed"
        _start_when_due(found, start, at, made)
        return "waiting"
    return "done"


def _run_containers(pod: Pod, seen: SeenPod, at: Circumstances, made: Plan) -> None:
    alive = False
    for index, wanted in enumerate(pod.spec.containers):
        start = Start(f"spec.containers[{index}]", wanted, _next_attempt(seen, wanted.name))
        alive |= _keep(pod, seen.current(wanted.name), start, at, made)
    if not alive:
        made.end = True


def _keep(pod: Pod, found: SeenContainer | None, start: Start, at: Circumstances, made: Plan) -> bool:
    """Sees to it that a container runs, if it is to; whether it is to."""
    wanted = start.container
    if found is None or not found.running:
        if not is_sidecar(wanted) and not should_run(pod, found):
            return False
        _start_when_due(found, start, at, made)
        return True
    name = found.name
    if found.id in at.unhealthy:
        why = at.unhealthy[found.id]
        made.stop.append(Stop(found, "Unhealthy", f"Container {name} {why.message}", why.grace))
    elif found.status.annotations.get(HASH, content_hash(wanted)) != content_hash(wanted):
        made.stop.append(Stop(found, "SpecChanged", f"Container {name} definition changed"))
        made.start.append(start)
        return True
    else:
        return True
    return policy(pod) != "Never" or is_sidecar(wanted)


def _start_when_due(found: SeenContainer | None, start: Start, at: Circumstances, made: Plan) -> None:
    if found is not None:
        since = found.status.finished_at or found.status.created_at  # one that could not even be started
        due = at.due(start.container.name, since / 1e9)
        if due > at.now:
            made.waiting[start.container.name] = due
            return
    made.start.append(start)


def _next_attempt(seen: SeenPod, name: str) -> int:
    found = seen.latest(name)
    return 0 if found is None else found.status.metadata.attempt + 1
