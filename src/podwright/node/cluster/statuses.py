"""Telling an API server the statuses of pods, and that a deleted one is gone.

Statuses wait here until the server takes them; of each pod only the last counts. If somebody else writes over what the
node has told, as the cluster does while it does not hear of the node, it is told again. A pod that is being deleted
goes from the server when nothing of it is left on the node, and after its last status.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from podwright.errors import Aborted, InvalidArgument, NotFound, PodwrightError, Unavailable
from podwright.node.cluster import patches
from podwright.node.cluster.client import Cluster, Document
from podwright.node.cluster.mirrors import Mirrors
from podwright.node.node_pods import NodePod

logger = logging.getLogger(__name__)

_PAUSE: Final = 2.0  # seconds after a failure


@dataclass(frozen=True, slots=True)
class _Told:
    """A status that the server has taken."""

    pod: NodePod
    status: Document
    taken: Document
    """What the server has made of it: an older one drops fields."""


@dataclass(slots=True)
class Statuses:
    """What is to be told and what has been. Mirrors have other uids than their pods."""

    cluster: Cluster
    mirrors: Mirrors
    _waiting: dict[str, tuple[NodePod, Document]] = field(default_factory=dict)
    """By the uids of pods."""
    _gone: dict[str, NodePod] = field(default_factory=dict)
    _told: dict[str, _Told] = field(default_factory=dict)
    """By the uids of the server's objects."""
    _there: dict[str, Document] = field(default_factory=dict)
    """The newest known version of each of these objects."""
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

    def all_are(self, documents: list[Document]) -> None:
        """The server has these pods and mirrors, and no others."""
        there = {document["metadata"]["uid"] for document in documents}
        self._told = {uid: told for uid, told in self._told.items() if uid in there}
        self._there = {uid: document for uid, document in self._there.items() if uid in there}
        for document in documents:
            self.seen(document, gone=False)

    def seen(self, document: Document, *, gone: bool) -> None:
        """The server has a pod, or a mirror, like this."""
        uid = document["metadata"]["uid"]
        if gone:
            self._told.pop(uid, None)
            self._there.pop(uid, None)
        elif uid not in self._there or _version(document) > _version(self._there[uid]):
            self._there[uid] = document
            self._tell_again(uid)

    def _tell_again(self, uid: str) -> None:
        """Puts a status once more if somebody has written over it since."""
        told, there = self._told.get(uid), self._there.get(uid)
        if told is None or there is None or told.pod.uid in self._waiting:
            return
        if patches.own(there.get("status") or {}) != told.taken:
            self.put(told.pod, told.status)

    async def for_ever(self) -> None:
        """Goes on for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._tell_all():
                await asyncio.sleep(_PAUSE)
                self._wake.set()

    async def _tell_all(self) -> bool:
        """Tells what is waiting; whether all of it was taken. One that is not holds up no other."""
        failures = 0
        for uid in list(self._waiting) + list(self._gone):
            try:
                if uid in self._waiting:
                    await self._tell(uid)
                elif uid in self._gone:
                    await self._delete(self._gone[uid])
            except Unavailable as error:
                logger.warning("statuses: %s", error)
                return False
            except PodwrightError as error:
                logger.warning("status: %s", error)
                failures += 1
        return not failures

    async def _tell(self, uid: str) -> None:
        waiting = self._waiting[uid]
        pod, status = waiting
        document = pod.document if pod.source == "api" else self.mirrors.of(pod)
        uid_there = document["metadata"]["uid"] if document is not None else ""
        if uid_there in self._there:  # else it is gone, or a mirror that is still to come will be told
            await self._patch(pod, status, uid_there)
        if self._waiting.get(uid) is waiting:  # the same status may have to be told again: to a new mirror
            del self._waiting[uid]
            self._tell_again(uid_there)

    async def _patch(self, pod: NodePod, status: Document, uid: str) -> None:
        """Makes it the status of the object with this uid."""
        there = self._there[uid].get("status") or {}
        patch = {"metadata": {"uid": uid}, "status": patches.pod_status(status, there)}
        try:
            made = await self.cluster.patch("Pod", pod.name, patch, pod.namespace, status=True)
        except NotFound:
            return
        except InvalidArgument as error:
            logger.warning("status of pod %s is refused: %s", pod.full_name, error)
            return
        except Aborted:
            if not await self._is_there(pod, uid):
                return  # another pod has the name by now
            raise
        if uid in self._there:  # else the watch has told meanwhile that it is gone
            self._told[uid] = _Told(pod, status, patches.own(made["status"]))
            self.seen(made, gone=False)

    async def _delete(self, pod: NodePod) -> None:
        if await self._is_there(pod, pod.uid):
            await self.cluster.delete("Pod", pod.name, pod.namespace, 0)
        del self._gone[pod.uid]

    async def _is_there(self, pod: NodePod, uid: str) -> bool:
        try:
            there = await self.cluster.get("Pod", pod.name, pod.namespace)
        except NotFound:
            return False
        return bool(there["metadata"]["uid"] == uid)


def _version(document: Document) -> int:
    """Of two versions of an object the higher is the newer (API concepts, resource versions)."""
    return int(document["metadata"]["resourceVersion"])
