"""All pods of the node: which there are, according to the sources, and a worker for each.

Nothing ends before every source has spoken once: until then a pod that nobody names may only be late.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from podwright.errors import PodwrightError
from podwright.node import admission, orphans, status
from podwright.node.context import Node
from podwright.node.events import About
from podwright.node.node_pods import NodePod, Source
from podwright.node.worker import Worker
from podwright.pods import read

logger = logging.getLogger(__name__)


class Agent:
    """The workers, by the uid of their pod."""

    def __init__(self, node: Node, sources: Iterable[Source], group: asyncio.TaskGroup) -> None:
        """`group` is where the workers run."""
        self.node = node
        self.workers: dict[str, Worker] = {}
        self.labels: Mapping[str, str] = {}
        """The node's, for selectors."""
        self.on_gone: list[Callable[[NodePod], None]] = []
        """Told of each pod of which nothing is left."""
        self._silent = set(sources)
        self._static: dict[str, NodePod] = {}
        """Those that files name now, by uid."""
        self._group = group

    @property
    def ready(self) -> bool:
        """Whether all sources have spoken."""
        return not self._silent

    def heard(self, source: Source, pods: list[NodePod]) -> None:
        """All pods that a source has now."""
        wanted = {pod.uid: pod for pod in pods}
        self._silent.discard(source)
        if source == "file":
            self._static = wanted
        self.end_orphans(wanted)
        for uid, worker in list(self.workers.items()):
            if worker.pod.source == source and uid not in wanted and not worker.ending:
                logger.info("pod %s: is to go, its source does not name it any more", worker.pod.full_name)
                worker.end(worker.pod.grace)
        for pod in pods:
            self.changed(pod)

    def changed(self, pod: NodePod) -> None:
        """A pod is new or has changed."""
        worker = self.workers.get(pod.uid)
        if worker is None:
            worker = self._begin(pod)
        elif not worker.ending:
            worker.update(pod)
        if pod.deleted:
            worker.end(pod.grace)

    def gone(self, uid: str) -> None:
        """A source has dropped a pod."""
        worker = self.workers.get(uid)
        if worker is not None:
            worker.end(worker.pod.grace)

    def labelled(self, labels: Mapping[str, str]) -> None:
        """The node has these labels."""
        self.labels = labels

    def seen(self, uid: str) -> None:
        """The runtime has news of a pod."""
        worker = self.workers.get(uid)
        if worker is not None:
            worker.wake()

    def documents(self) -> list[dict[str, Any]]:
        """All pods with their present status, as the API has them."""
        return [
            {**document, "apiVersion": "v1", "kind": "Pod", "status": status.shown(worker.last_status, document)}
            for worker in self.workers.values()
            for document in [worker.pod.document]
        ]

    def find(self, namespace: str, name: str) -> Worker | None:
        """The worker of a pod by its name; one that is not ending, if there are two."""
        found = [w for w in self.workers.values() if w.pod.namespace == namespace and w.pod.name == name]
        return min(found, key=lambda worker: worker.ending, default=None)

    def _begin(self, pod: NodePod) -> Worker:
        others = [worker for worker in self.workers.values() if not worker.finished]
        same = next((other for other in self.workers.values() if other.pod.full_name == pod.full_name), None)
        rejected = ""
        if not (pod.problem or pod.deleted or self.node.observed.pod(pod.uid).sandboxes):
            beside = [other.pod for other in others if other is not same]
            rejected = admission.refusal(pod, beside, self.node.allocatable, self.labels)
        if rejected or pod.problem:
            reason, _, message = (rejected or f"InvalidPod: {pod.problem}").partition(": ")
            self.node.recorder.tell(About.pod(pod), "Warning", reason, message)
        for path in read.unserved(pod.pod, by_node=True):
            self.node.recorder.tell(About.pod(pod), "Warning", "NotServed", f"{path} is not served by this node")
        worker = Worker(self.node, pod, after=same, rejected=rejected)
        self.workers[pod.uid] = worker
        self._group.create_task(self._run(worker), name=f"pod {pod.full_name}")
        self._weigh()
        return worker

    async def _run(self, worker: Worker) -> None:
        await worker.run()
        del self.workers[worker.pod.uid]
        for listener in self.on_gone:
            listener(worker.pod)
        self.node.statuses.pop(worker.pod.uid, None)
        if worker.pod.uid in self._static:  # its manifest went and came back
            self._begin(self._static[worker.pod.uid])
        self._weigh()

    def _weigh(self) -> None:
        try:
            self.node.cgroups.weigh(worker.pod.pod for worker in self.workers.values() if not worker.finished)
        except PodwrightError as error:
            logger.warning("%s", error)

    def end_orphans(self, wanted: Mapping[str, NodePod] | None = None) -> None:
        """Ends what a kubelet has made and no source names; `wanted` are pods that are about to get workers."""
        if not self.ready:
            return
        for seen in list(self.node.observed.pods.values()):
            if seen.uid in self.workers or (wanted and seen.uid in wanted):
                continue
            pod = orphans.pod(seen)
            if pod is not None:
                logger.info("pod %s (%s): runs, but no source names it", pod.full_name, pod.uid)
                self._begin(pod).end(pod.grace)
