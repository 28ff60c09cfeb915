"""The node's Lease: renewed again and again, by which a cluster knows that the node lives."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from podwright.clock import now_ns
from podwright.errors import NotFound, PodwrightError
from podwright.node.cluster.client import Cluster, Document
from podwright.node.times import micro

logger = logging.getLogger(__name__)

_NAMESPACE: Final = "kube-node-lease"


@dataclass(slots=True)
class NodeLease:
    """Renews it at a quarter of its duration, as the kubelet does."""

    cluster: Cluster
    node: str
    seconds: int
    node_uid: Callable[[], str]
    """Of the Node object as it is now."""
    _last: Document | None = None

    async def for_ever(self) -> None:
        """Goes on for ever."""
        failing = False
        while True:
            try:
                await self.renew()
                failing = False
            except PodwrightError as error:
                self._last = None
                if not failing:
                    logger.warning("lease: %s", error)
                failing = True
            await asyncio.sleep(self.seconds / 4)

    async def renew(self) -> None:
        """Renews it once, making it if it is not there. Raises what the API server answers."""
        spec = {"holderIdentity": self.node, "leaseDurationSeconds": self.seconds, "renewTime": micro(now_ns())}
        if self._last is None:
            try:
                self._last = await self.cluster.get("Lease", self.node, _NAMESPACE)
            except NotFound:
                metadata: Document = {"name": self.node, "namespace": _NAMESPACE}
                if uid := self.node_uid():
                    owner = {"apiVersion": "v1", "kind": "Node", "name": self.node, "uid": uid}
                    metadata["ownerReferences"] = [owner]
                made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
                self._last = await self.cluster.create("Lease", made, _NAMESPACE)
                return
        document = {**self._last, "spec": {**self._last.get("spec", {}), **spec}}
        self._last = await self.cluster.replace("Lease", document, _NAMESPACE)
