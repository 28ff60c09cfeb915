"""One pod: a task that brings what runs in line with what is wanted, again and again, until the pod is gone.

              ┌────────────── woken by: the runtime, a probe, a new specification, a back-off that is over
              ▼
    look → publish the status → plan → stop, make, start → look …      (alive)
    hooks, signals, sandbox → last status → volumes, cgroup, records   (ending)

A step that fails is told in an event or the log and is tried again after ten seconds. Nothing of one pod waits for
another. When a pod is to end its present step is cancelled; what that step had begun is seen by the next look.
"""

import asyncio
import contextlib
import logging
import random
import shutil
import time
from typing import Any, Final

from podwright.clock import now_ns
from podwright.errors import PodwrightError
from podwright.node import containers, ending, sandbox, status, termination, times, volumes
from podwright.node.containers import Given
from podwright.node.context import Node
from podwright.node.errors import Waiting
from podwright.node.events import About
from podwright.node.node_pods import NodePod
from podwright.node.observed import SeenPod
from podwright.node.plan import Circumstances, Plan, plan
from podwright.node.probes import Probes
from podwright.pods.back_off import BackOff
from podwright.pods.check import all_containers

logger = logging.getLogger(__name__)

_AFTER_FAILURE: Final = 10.0  # seconds, as the kubelet's backOffPeriod


class Worker:
    """The life of one pod on this node."""

    def __init__(self, node: Node, pod: NodePod, *, after: "Worker | None" = None, rejected: str = "") -> None:
        """`after` is a worker of the same name that must be gone first; `rejected` why the node does not run it."""
        self.pod = pod
        self.gone = asyncio.Event()
        """Set once nothing is left of the pod."""
        self.ended = asyncio.Event()
        """Set once nothing runs any more."""
        self.ending = False
        self.failed: tuple[str, str] | None = None
        """Reason and message of a pod that was given up."""
        self._node = node
        self._after = after
        self._grace: int | None = None
        self._wake = asyncio.Event()
        self._end_it = asyncio.Event()
        self._probes = Probes(node.cri, node.recorder, self._wake.set)
        self._back_off: dict[str, BackOff] = {}
        self._waiting: dict[str, tuple[str, str]] = {}
        self._messages: dict[str, str] = {}
        self._step: asyncio.Task[float] | None = None
        if pod.problem:
            self.failed = ("InvalidPod", pod.problem)
        elif rejected:
            reason, _, message = rejected.partition(": ")
            self.failed = (reason, message)

    @property
    def last_status(self) -> dict[str, Any]:
        """The last status, empty before the first."""
        return self._node.statuses.get(self.pod.uid, {})

    @property
    def finished(self) -> bool:
        """Whether the pod needs nothing of the node any more."""
        return self.ended.is_set() or status.is_terminal(self.last_status)

    def wake(self) -> None:
        """There is news."""
        self._wake.set()

    def tell_again(self) -> None:
        """Somebody new listens to statuses."""
        if self.last_status:
            for listener in self._node.on_status:
                listener(self.pod, self.last_status)

    def update(self, pod: NodePod) -> None:
        """The pod has changed."""
        self.pod = pod
        self._wake.set()

    def give_up(self, reason: str, message: str) -> None:
        """Fails the pod and stops what runs of it."""
        if self.failed is None:
            self.failed = (reason, message)
            if self._step is not None:
                self._step.cancel()
            self._wake.set()
            self._end_it.set()

    def end(self, grace: int) -> None:
        """Ends the pod. A later call can only shorten the grace period."""
        shorter = self._grace is None or grace < self._grace
        self._grace = grace if self._grace is None else min(grace, self._grace)
        self.ending = True
        if self._step is not None and shorter:
            self._step.cancel()
        self._wake.set()
        self._end_it.set()

    async def run(self) -> None:
        """Returns when the pod is gone."""
        try:
            if self._after is not None:
                await self._after.gone.wait()
                self._after = None
            while not self.gone.is_set():
                self._wake.clear()
                self._end_it.clear()
                pause, news = await self._one_step()
                if not self.gone.is_set():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await news.wait()
        finally:
            self._probes.close()
            if self._step is not None:
                self._step.cancel()

    async def _one_step(self) -> tuple[float, asyncio.Event]:
        """Does what is to be done now; returns seconds until the next step, and what makes it sooner.

        After a failure only the pod's end does: other news may be the failure's own.
        """
        self._step = asyncio.create_task(self._end() if self.ending else self._live())
        await asyncio.wait([self._step])
        if self._step.cancelled():
            return 0.0, self._wake
        error = self._step.exception()
        if error is None:
            return self._step.result(), self._wake
        if isinstance(error, (PodwrightError, OSError)):
            logger.warning("pod %s: %s", self.pod.full_name, error)
        else:
            logger.error("pod %s: this is a defect", self.pod.full_name, exc_info=error)
        return _AFTER_FAILURE * (0.8 + 0.4 * random.random()), self._end_it

    # ---- alive

    async def _live(self) -> float:
        node, pod = self._node, self.pod
        seen = node.observed.pod(pod.uid)
        self._probes.sync(pod, seen, self._address(seen))
        self._check_deadline()
        await self._read_messages(seen)
        if status.is_terminal(self._publish(seen)):
            if seen.running or seen.ready:
                await ending.stop_pod(node, pod, seen, pod.grace)
                await self._read_messages(node.observed.pod(pod.uid))
                self._publish(node.observed.pod(pod.uid))
            return self._until_next()
        made = plan(pod.pod, seen, self._circumstances())
        self._note_back_off(made)
        if made.end and (seen.running or seen.ready):
            await ending.stop_pod(node, pod, seen, pod.grace)
        for stop in made.stop:
            grace = pod.grace if stop.grace is None else stop.grace
            await ending.stop_container(node, pod, stop.container, grace, stop.message, seen.addresses)
        if made.start or made.sandbox_attempt is not None:
            failed = await self._start(made)
            self._publish(await node.observed.refresh(pod.uid))
            if failed:
                return _AFTER_FAILURE
        elif made.stop or made.end:
            await node.observed.refresh(pod.uid)
        else:
            await self._refresh_volumes(seen)
        return self._until_next(made)

    async def _start(self, made: Plan) -> bool:
        """Makes the sandbox and starts the containers of a plan; whether a container could not be started."""
        node, pod = self._node, self.pod
        source = node.objects[pod.source]
        objects, secrets = await source.objects(pod, fresh=True), await source.pull_secrets(pod)
        seen = node.observed.pod(pod.uid)
        try:
            paths = await asyncio.to_thread(
                volumes.set_up,
                sandbox.facts(node, pod, seen),
                objects,
                node.places.pod(pod.uid, pod.namespace, pod.name),
            )
        except (PodwrightError, OSError) as error:
            node.recorder.tell(About.pod(pod), "Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
            raise
        if made.sandbox_attempt is not None:
            seen = await sandbox.make(node, pod, made.sandbox_attempt)
        assert seen.sandbox is not None
        config = sandbox.config(node, pod, seen.sandbox.metadata.attempt)
        given = Given(pod, seen, objects, secrets, paths, config)
        try:
            await containers.ensure_image_volumes(node, given)
        except Waiting as error:
            self._waiting |= {start.container.name: (error.reason, str(error)) for start in made.start}
            return True
        failed = False
        for start in made.start:
            name = start.container.name
            before = seen.latest(name)
            if before is not None:
                self._back_off.setdefault(name, BackOff()).tried(time.time())
            try:
                await containers.start(node, given, start)
                self._waiting.pop(name, None)
            except Waiting as error:
                self._waiting[name] = error.reason, str(error)
                failed = True
        return failed

    async def _refresh_volumes(self, seen: SeenPod) -> None:
        """Now and then brings config maps, secrets, tokens and the pod's fields in its volumes up to date."""
        if not seen.ready or not self.pod.pod.spec.volumes:
            return
        node, pod = self._node, self.pod
        objects = await node.objects[pod.source].objects(pod, fresh=False)
        facts = sandbox.facts(node, pod, seen)
        await asyncio.to_thread(volumes.set_up, facts, objects, node.places.pod(pod.uid, pod.namespace, pod.name))

    def _circumstances(self) -> Circumstances:
        return Circumstances(
            now=time.time(),
            due=lambda name, ended: self._back_off[name].due(ended) if name in self._back_off else ended,
            unhealthy=self._probes.unhealthy(),
            started=self._probes.started,
        )

    def _note_back_off(self, made: Plan) -> None:
        for name in made.waiting:
            pause = self._back_off[name].pause
            shown = f"{pause:.0f}s" if pause < 60 else f"{pause // 60:.0f}m{pause % 60:.0f}s"
            pod = self.pod
            message = f"back-off {shown} restarting failed container={name} pod={pod.name}_{pod.namespace}({pod.uid})"
            if self._waiting.get(name) != ("CrashLoopBackOff", message):
                about = About.pod(pod, next(path for path, item in all_containers(pod.pod) if item.name == name), name)
                text = f"Back-off restarting failed container {name} in pod {pod.name}_{pod.namespace}({pod.uid})"
                self._node.recorder.tell(about, "Warning", "BackOff", text)
            self._waiting[name] = "CrashLoopBackOff", message
        if made.waiting:
            self._publish(self._node.observed.pod(self.pod.uid))

    def _until_next(self, made: Plan | None = None) -> float:
        """Seconds to the next step that nothing else causes."""
        now = time.time()
        pauses = [self._node.configuration.duration("sync_frequency") * (0.9 + 0.2 * random.random())]
        if made is not None:
            pauses += [due - now for due in made.waiting.values()]
        if (deadline := self._deadline()) and self.failed is None:
            pauses.append(deadline - now)
        return max(0.0, min(pauses))

    def _deadline(self) -> float | None:
        seconds, started = self.pod.pod.spec.active_deadline_seconds, self.last_status.get("startTime")
        return times.seconds(started) + seconds if seconds is not None and started else None

    def _check_deadline(self) -> None:
        deadline = self._deadline()
        if deadline is not None and time.time() >= deadline and self.failed is None:
            message = "Pod was active on the node longer than the specified deadline"
            self.failed = ("DeadlineExceeded", message)
            self._node.recorder.tell(About.pod(self.pod), "Normal", "DeadlineExceeded", message)

    # ---- ending

    async def _end(self) -> float:
        node, pod, grace = self._node, self.pod, self._grace or 0
        self._probes.close(keep="readiness")
        seen = await node.observed.refresh(pod.uid)
        self._publish(seen)
        if seen.running or seen.ready:
            await ending.stop_pod(node, pod, seen, grace)
        self._probes.close()
        seen = await node.observed.refresh(pod.uid)
        await self._read_messages(seen)
        self._publish(seen)
        self.ended.set()
        places = node.places.pod(pod.uid, pod.namespace, pod.name)
        await ending.remove_pod(node, pod.uid)
        await asyncio.to_thread(volumes.tear_down, places.path)
        await asyncio.to_thread(node.cgroups.remove, pod.uid)
        await asyncio.to_thread(shutil.rmtree, places.logs, ignore_errors=True)
        node.images.forget(pod.uid)
        self.gone.set()
        return 0.0

    # ---- telling

    def _publish(self, seen: SeenPod) -> dict[str, Any]:
        """Makes the status and tells it if it is news."""
        node, pod = self._node, self.pod
        old = node.statuses.get(pod.uid)
        base = old if old is not None else pod.document.get("status") or {}
        if old is None and pod.source == "api" and status.is_terminal(base) and not seen.running:
            new = dict(base)  # it has had its life, before this node came back
        elif old is not None and (self.ending or status.is_terminal(old)) and not seen.containers:
            new = old  # they have been removed; what became of them stays true
        elif self.failed is not None and not seen.containers:
            new = status.refused(*self.failed, base, now_ns())
        else:
            new = status.make(pod, seen, self._knowledge(), base, now_ns())
        if new != old:
            node.statuses[pod.uid] = new
            if old is None or old.get("phase") != new["phase"]:
                logger.info("pod %s: %s%s", pod.full_name, new["phase"], _because(new))
            for listener in node.on_status:
                listener(pod, new)
        return new

    def _knowledge(self) -> status.Knowledge:
        return status.Knowledge(
            waiting=self._waiting,
            ready=self._probes.ready,
            started=self._probes.started,
            messages=self._messages,
            host_addresses=self._node.addresses,
            runtime=self._node.runtime.runtime_name,
            failed=self.failed,
            ending=self.ending,
        )

    async def _read_messages(self, seen: SeenPod) -> None:
        """Reads the last words of containers that have ended since."""
        for found in seen.containers:
            if found.ended and found.id not in self._messages:
                self._messages[found.id] = await asyncio.to_thread(termination.message, found.status)
        for gone in self._messages.keys() - {found.id for found in seen.containers}:
            del self._messages[gone]

    def _address(self, seen: SeenPod) -> str:
        if self.pod.pod.spec.host_network or not seen.addresses:
            return self._node.addresses[0]
        return seen.addresses[0]


def _because(new: dict[str, Any]) -> str:
    return f" ({new['reason']}: {new['message']})" if new.get("reason") else ""
