"""Mirror pods: objects by which an API server sees the pods that a node has from files.

A mirror is made for each, made again when somebody deletes it or the file changes, and deleted with the pod. Its
annotation kubernetes.io/config.mirror tells which version of the pod it stands for.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from podwright.errors import AlreadyExists, PodwrightError
from podwright.node.agent import Agent
from podwright.node.cluster.client import Cluster, Document
from podwright.node.node_pods import HASH, MIRROR, NodePod

logger = logging.getLogger(__name__)

_PAUSE = 5.0  # seconds after a failure


@dataclass(slots=True)
class Mirrors:
    """Brings mirrors in line with the pods from files."""

    cluster: Cluster
    node: str
    agent: Agent
    node_uid: Callable[[], str]
    """Of the Node object as it is now."""
    _there: dict[str, Document] = field(default_factory=dict)
    """By namespace/name."""
    _known: bool = False
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def all_are(self, documents: list[Document]) -> None:
        """The mirrors that there are."""
        self._there = {_name(document): document for document in documents}
        self._known = True
        for document in documents:
            self._tell_status(document)
        self._wake.set()

    def changed(self, document: Document, *, gone: bool) -> None:
        """One of them has changed."""
        before = self._there.pop(_name(document), None)
        if not gone:
            self._there[_name(document)] = document
            if before is None or before["metadata"]["uid"] != document["metadata"]["uid"]:
                self._tell_status(document)
        self._wake.set()

    def wake(self) -> None:
        """There may be other pods."""
        self._wake.set()

    def of(self, pod: NodePod) -> Document | None:
        """The mirror of a pod, if it is there."""
        found = self._there.get(pod.full_name)
        return found if found is not None and _hash(found) == pod.pod.metadata.annotations.get(HASH) else None

    async def for_ever(self) -> None:
        """Goes on for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._known and self.agent.ready and not await self._sync():
                await asyncio.sleep(_PAUSE)
                self._wake.set()

    async def _sync(self) -> bool:
        """Asks for what is to be otherwise; whether all of it was done. That it is, only the watch tells."""
        wanted, done = self._wanted(), True
        for name, there in list(self._there.items()):
            pod = wanted.get(name)
            if pod is None or _hash(there) != pod.pod.metadata.annotations.get(HASH) or _is_going(there):
                namespace, _, short = name.partition("/")
                done &= await _succeeds(self.cluster.delete("Pod", short, namespace, 0))
        for name in wanted.keys() - self._there.keys():
            done &= await _succeeds(self._create(wanted[name]))
        return done

    async def _create(self, pod: NodePod) -> None:
        with contextlib.suppress(AlreadyExists):  # the watch will tell whose it is
            await self.cluster.create("Pod", self._document(pod), pod.namespace)

    def _wanted(self) -> dict[str, NodePod]:
        return {
            worker.pod.full_name: worker.pod
            for worker in self.agent.workers.values()
            if worker.pod.source == "file" and not worker.ending and not worker.pod.problem
        }

    def _tell_status(self, document: Document) -> None:
        """A mirror that is new knows nothing of its pod's status."""
        pod = self._wanted().get(_name(document))
        if pod is not None:
            self.agent.workers[pod.uid].tell_again()

    def _document(self, pod: NodePod) -> Document:
        metadata = pod.document["metadata"]
        annotations = metadata["annotations"]
        made = {
            "name": pod.name,
            "namespace": pod.namespace,
            "labels": metadata.get("labels") or {},
            "annotations": {**annotations, MIRROR: annotations[HASH]},
        }
        if uid := self.node_uid():
            owner = {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid, "controller": True}
            made["ownerReferences"] = [owner]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": pod.document["spec"]}


async def _succeeds(work: Coroutine[Any, Any, None]) -> bool:
    """One mirror that cannot be made holds up no other."""
    try:
        await work
    except PodwrightError as error:
        logger.warning("mirror pods: %s", error)
        return False
    return True


def _name(document: Document) -> str:
    return f"{document['metadata'].get('namespace', 'default')}/{document['metadata']['name']}"


def _hash(document: Document) -> str | None:
    found: str | None = document["metadata"].get("annotations", {}).get(MIRROR)
    return found


def _is_going(document: Document) -> bool:
    return document["metadata"].get("deletionTimestamp") is not None
