"""The pods that a cluster gives to this node, and the mirrors by which it sees those from files."""

import logging
from dataclasses import dataclass, field

from podwright.errors import InvalidArgument
from podwright.node import node_pods, status
from podwright.node.agent import Agent
from podwright.node.cluster.client import Cluster, Document
from podwright.node.cluster.mirrors import Mirrors
from podwright.node.cluster.statuses import Statuses
from podwright.node.cluster.watcher import follow
from podwright.node.node_pods import MIRROR, NodePod

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class PodSource:
    """Tells the agent of them."""

    cluster: Cluster
    node: str
    agent: Agent
    mirrors: Mirrors
    statuses: Statuses
    _pods: dict[str, NodePod] = field(default_factory=dict)

    async def for_ever(self) -> None:
        """Goes on for ever."""
        async for news in follow(self.cluster, "Pod", {"spec.nodeName": self.node}):
            if isinstance(news, list):
                self.statuses.all_are(news)
                self.mirrors.all_are([item for item in news if _is_mirror(item)])
                pods = [pod for item in news if not _is_mirror(item) if (pod := _pod(item)) is not None]
                self._pods = {pod.uid: pod for pod in pods}
                self.agent.heard("api", pods)
                continue
            change, document = news
            self.statuses.seen(document, gone=change == "DELETED")
            if _is_mirror(document):
                self.mirrors.changed(document, gone=change == "DELETED")
            elif change == "DELETED":
                self._pods.pop(document["metadata"]["uid"], None)
                self.agent.gone(document["metadata"]["uid"])
            elif (pod := _pod(document)) is not None:
                known = self._pods.get(pod.uid)
                self._pods[pod.uid] = pod
                if known is None or _matters(known.document, document):
                    self.agent.changed(pod)


def _pod(document: Document) -> NodePod | None:
    try:
        return node_pods.from_api(document)
    except InvalidArgument as error:
        logger.warning("pod %s: %s", document["metadata"].get("name"), error)
        return None


def _is_mirror(document: Document) -> bool:
    return MIRROR in document["metadata"].get("annotations", {})


def _matters(old: Document, new: Document) -> bool:
    """Whether something else has changed than the status that this node has written itself."""
    keys = ("labels", "deletionTimestamp", "deletionGracePeriodSeconds")
    return (
        old.get("spec") != new.get("spec")
        or any(old["metadata"].get(key) != new["metadata"].get(key) for key in keys)
        or _own_annotations(old) != _own_annotations(new)
        or status.of_others(old) != status.of_others(new)
    )


def _own_annotations(document: Document) -> dict[str, str]:
    annotations: dict[str, str] = document["metadata"].get("annotations", {})
    return {key: text for key, text in annotations.items() if not key.startswith("kubernetes.io/config.")}
