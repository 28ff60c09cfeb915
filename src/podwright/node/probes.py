"""Probes: a task for each probe of each running container, and what they have found.

The rules are the kubelet's (pkg/kubelet/prober/worker.go): nothing before initialDelaySeconds and before the startup
probe has passed; a change needs failureThreshold or successThreshold equal results in a row; a probe that could not be
carried out, because the runtime is away say, has no result; a container that failed its liveness or startup probe is
not probed again before it is another one.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from podwright.client import AsyncClient
from podwright.node import actions
from podwright.node.actions import Outcome
from podwright.node.events import About, Recorder
from podwright.node.node_pods import NodePod
from podwright.node.observed import SeenContainer, SeenPod
from podwright.node.plan import Unhealthy, is_sidecar
from podwright.pods.check import containers
from podwright.pods.schema import Container, Probe

Kind = Literal["startup", "liveness", "readiness"]

_RESTART: Final = {
    "startup": "failed startup probe, will be restarted",
    "liveness": "failed liveness probe, will be restarted",
}
_TRIES: Final = 3  # for a probe that could not be carried out at all


@dataclass(slots=True)
class _Results:
    """What is known of one running container."""

    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    startup: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the startup probe has passed, or there is none."""
    ready: bool = False
    unhealthy: Unhealthy | None = None


@dataclass(slots=True)
class Probes:
    """The probes of one pod."""

    cri: AsyncClient
    recorder: Recorder
    changed: Callable[[], None]
    _results: dict[str, _Results] = field(default_factory=dict)

    def sync(self, pod: NodePod, seen: SeenPod, address: str) -> None:
        """Begins to probe what runs, ends to probe what does not."""
        running = {}
        for path, wanted in containers(pod.pod):
            found = seen.current(wanted.name)
            if found is not None and found.running and (path.startswith("spec.containers") or is_sidecar(wanted)):
                running[found.id] = (path, wanted, found)
        for gone in self._results.keys() - running.keys():
            for task in self._results.pop(gone).tasks:
                task.cancel()
        for container_id in running.keys() - self._results.keys():
            path, wanted, found = running[container_id]
            self._begin(pod, path, wanted, found, address)

    def close(self, keep: Kind | None = None) -> None:
        """Ends all probing, but for one kind: a pod that ends is still asked whether it is ready."""
        for results in self._results.values():
            for task in results.tasks:
                if task.get_name() != keep:
                    task.cancel()

    def started(self, found: SeenContainer, wanted: Container) -> bool:
        """Whether the container has come through its startup probe."""
        results = self._results.get(found.id)
        return wanted.startup_probe is None or (results is not None and results.startup.is_set())

    def ready(self, found: SeenContainer, wanted: Container) -> bool:
        """Whether it passes its readiness probe."""
        results = self._results.get(found.id)
        return wanted.readiness_probe is None or (results is not None and results.ready)

    def unhealthy(self) -> dict[str, Unhealthy]:
        """Containers that are to be restarted, by id."""
        return {container_id: found.unhealthy for container_id, found in self._results.items() if found.unhealthy}

    def _begin(self, pod: NodePod, path: str, wanted: Container, found: SeenContainer, address: str) -> None:
        results = self._results[found.id] = _Results()
        before = _told_before(pod, found.id)
        if wanted.startup_probe is None or before.get("started"):
            results.startup.set()
        results.ready = bool(before.get("ready"))
        about = About.pod(pod, path, wanted.name)
        kinds: list[tuple[Kind, Probe | None]] = [
            ("startup", wanted.startup_probe),
            ("liveness", wanted.liveness_probe),
            ("readiness", wanted.readiness_probe),
        ]
        for kind, probe in kinds:
            if probe is not None and not (kind == "startup" and results.startup.is_set()):
                run = _Run(self, results, about, kind, probe, wanted, found, address)
                results.tasks.append(asyncio.create_task(run.forever(), name=kind))


def _told_before(pod: NodePod, container_id: str) -> dict[str, Any]:
    """What the API server was last told of a container that an agent before this one has started.

    Without it every restart of the agent would take pods that are ready out of their services for a moment.
    """
    status = pod.document.get("status") or {}
    for item in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        if str(item.get("containerID", "")).endswith(f"://{container_id}"):
            return dict(item)
    return {}


@dataclass(slots=True)
class _Run:
    """One probe of one container."""

    probes: Probes
    results: _Results
    about: About
    kind: Kind
    probe: Probe
    wanted: Container
    found: SeenContainer
    address: str

    async def forever(self) -> None:
        """Returns when the probe has nothing more to find out."""
        age = time.time() - self.found.status.started_at / 1e9
        if (left := self.probe.initial_delay_seconds - age) > 0:
            await asyncio.sleep(left)
        elif age > self.probe.period_seconds:  # the node has just come back: not all probes at once
            await asyncio.sleep(random.random() * (self.probe.period_seconds or 1))
        if self.kind != "startup":
            await self.results.startup.wait()
        last, count = None, 0
        while True:
            outcome = await self._try()
            if outcome.known:
                count = count + 1 if outcome.good == last else 1
                last = outcome.good
                needed = self.probe.success_threshold if outcome.good else self.probe.failure_threshold
                if count >= (needed or 1) and self._settle(outcome):
                    return
            await asyncio.sleep(self.probe.period_seconds or 10)

    async def _try(self) -> Outcome:
        outcome = Outcome(good=False)
        for _ in range(_TRIES):
            outcome = await _carry_out(self)
            if outcome.known:
                break
        if not outcome.good:
            words = "probe failed" if outcome.known else "probe errored and resulted in unknown state"
            message = f"{self.kind.capitalize()} {words}: {outcome.output}"
            self.probes.recorder.tell(self.about, "Warning", "Unhealthy", message)
        return outcome

    def _settle(self, outcome: Outcome) -> bool:
        """Notes a result that has come often enough; whether the probe is through."""
        if self.kind == "readiness":
            if self.results.ready != outcome.good:
                self.results.ready = outcome.good
                self.probes.changed()
            return False
        if not outcome.good:
            self.results.unhealthy = Unhealthy(_RESTART[self.kind], self.probe.termination_grace_period_seconds)
            self.probes.changed()
            return True
        if self.kind == "startup":
            self.results.startup.set()
            self.probes.changed()
            return True
        return False


async def _carry_out(run: _Run) -> Outcome:
    probe, seconds = run.probe, run.probe.timeout_seconds or 1
    if probe.exec is not None:
        return await actions.execute(run.probes.cri, run.found.id, probe.exec, seconds)
    if probe.http_get is not None:
        return await actions.http_get(probe.http_get, run.wanted, run.address, seconds)
    if probe.tcp_socket is not None:
        return await actions.tcp_connect(probe.tcp_socket, run.wanted, run.address, seconds)
    assert probe.grpc is not None
    return await actions.grpc_check(probe.grpc, run.address, seconds)
