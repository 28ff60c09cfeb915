"""Telling an API server the statuses of pods, and that a deleted one is gone.

Statuses wait here until the server takes them; of each pod only the last counts. A pod that is being deleted goes from
the server when nothing of it is left on the node, and after its last status.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from podwright.errors import InvalidArgument, NotFound, PodwrightError
from podwright.node.cluster.client import Cluster, Document
from podwright.node.cluster.mirrors import Mirrors
from podwright.node.node_pods import NodePod

logger = logging.getLogger(__name__)

_PAUSE = 5.0  # seconds after a failure


@dataclass(slots=True)
class Statuses:
    """A queue."""

    cluster: Cluster
    mirrors: Mirrors
    _waiting: dict[str, tuple[NodePod, Document]] = field(default_factory=dict)
    _gone: dict[str, NodePod] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, pod: NodePod, status: Document) -> None:
        """A status is to be told."""
        self._waiting[pod.uid] = pod, status
        self._wake.set()

    def gone(self, pod: NodePod) -> None:
        """Nothing is left of a pod on the node."""
        if pod.source == "api" and pod.deleted:
            self._gone[pod.uid] = pod
            self._wake.set()
        else:
            self._waiting.pop(pod.uid, None)

    async def for_ever(self) -> None:
        """Goes on for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting or self._gone:
                try:
                    await self._tell_one()
                except PodwrightError as error:
                    logger.warning("status: %s", error)
                    await asyncio.sleep(_PAUSE)

    async def _tell_one(self) -> None:
        if self._waiting:
            uid = next(iter(self._waiting))
            pod, status = self._waiting[uid]
            try:
                await self._patch(pod, status)
            except NotFound:
                pass  # its object is gone; the watch tells
            except InvalidArgument as error:
                logger.warning("status of pod %s is refused: %s", pod.full_name, error)
            if self._waiting.get(uid) == (pod, status):
                del self._waiting[uid]
            return
        uid, pod = next(iter(self._gone.items()))
        try:
            there = await self.cluster.get("Pod", pod.name, pod.namespace)
        except NotFound:
            there = {"metadata": {}}
        if there["metadata"].get("uid") == uid:  # another pod may have the name by now
            await self.cluster.delete("Pod", pod.name, pod.namespace, 0)
        del self._gone[uid]

    async def _patch(self, pod: NodePod, status: Document) -> None:
        uid = pod.uid
        if pod.source == "file":
            mirror = self.mirrors.of(pod)
            if mirror is None:
                return  # it is told again once there is one
            uid = mirror["metadata"]["uid"]
        await self.cluster.patch(
            "Pod", pod.name, {"metadata": {"uid": uid}, "status": status}, pod.namespace, status=True
        )
