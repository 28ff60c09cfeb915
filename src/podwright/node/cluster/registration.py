"""Registering the node, and keeping its status true."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podwright.clock import now_ns
from podwright.cri import v1
from podwright.errors import AlreadyExists, NotFound, PodwrightError
from podwright.node.cluster import node_object, patches
from podwright.node.cluster.client import Cluster, Document
from podwright.node.cluster.watcher import follow
from podwright.node.conditions import timed
from podwright.node.context import Node
from podwright.node.events import About, Kind
from podwright.node.flags import Flags
from podwright.node.pressure import Pressures
from podwright.node.runtime_health import RuntimeHealth
from podwright.node.times import rfc3339

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 7.0  # seconds: the kubelet's registerWithAPIServer
_IMAGES_PERIOD: Final = 30.0


@dataclass(slots=True)
class Registration:
    """The node in the cluster."""

    cluster: Cluster
    node: Node
    given: Flags
    health: RuntimeHealth
    pressures: Pressures
    labelled: Callable[[Mapping[str, str]], None]
    """Told the node's labels."""
    document: Document = field(default_factory=dict)
    """The object, as the API server has it."""
    _images: list[v1.Image] = field(default_factory=list)
    _images_at: float = 0.0
    _told: Document = field(default_factory=dict)
    _told_at: float = 0.0
    _range: str = ""

    def uid(self) -> str:
        """The object's, which is another one after it was deleted."""
        uid: str = self.document["metadata"].get("uid", "")
        return uid

    async def register(self) -> None:
        """Returns once the node is in the cluster; tries for as long as it takes."""
        pause: float = _FIRST_PAUSE
        while True:
            try:
                await self._register()
            except PodwrightError as error:
                logger.warning("the node cannot be registered: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return

    async def _register(self) -> None:
        wanted = node_object.node(self.node, self.given)
        if not self.node.configuration.register_node:
            self.document = await self.cluster.get("Node", self.node.name)
            return
        try:
            self.document = await self.cluster.create("Node", {**wanted, "status": await self._status()})
            logger.info("node %s is registered", self.node.name)
            self._announce({}, self.document["status"])
        except AlreadyExists:
            patch = {"metadata": {"labels": wanted["metadata"]["labels"]}}
            self.document = await self.cluster.patch("Node", self.node.name, patch)
            logger.info("node %s was registered before", self.node.name)
        self._event("Normal", "Starting", "Starting kubelet.")

    async def for_ever(self) -> None:
        """Tells the status again and again: when it changes, and now and then in any case."""
        settings = self.node.configuration
        failing = False
        while True:
            try:
                await self.tell()
                failing = False
            except NotFound:
                self._told = {}  # it was deleted, and is being registered again
            except PodwrightError as error:
                if not failing:
                    logger.warning("status of the node: %s", error)
                failing = True
            await asyncio.sleep(settings.duration("node_status_update_frequency"))

    async def watch(self) -> None:
        """Keeps up with what others say of the node: its labels, its range of pod addresses, its end."""
        async for news in follow(self.cluster, "Node", {"metadata.name": self.node.name}):
            gone = news == [] or (isinstance(news, tuple) and news[0] == "DELETED")
            if gone:
                logger.warning("node %s was deleted from the cluster: registering it again", self.node.name)
                await self.register()
                self._told = {}
                continue
            for document in news if isinstance(news, list) else [news[1]]:
                self.document = document
                self.labelled(document["metadata"].get("labels") or {})
                await self._tell_range(document.get("spec") or {})

    async def _tell_range(self, spec: Document) -> None:
        """Tells the runtime from which range pods get their addresses, as kubelets do: UpdateRuntimeConfig."""
        cidr = ",".join(spec.get("podCIDRs") or filter(None, [spec.get("podCIDR")]))
        if not cidr or cidr == self._range:
            return
        try:
            config = v1.RuntimeConfig(network_config=v1.NetworkConfig(pod_cidr=cidr))
            await self.node.cri.update_runtime_config(config)
            self._range = cidr
        except PodwrightError as error:
            logger.warning("the runtime cannot be told the pod CIDR %s: %s", cidr, error)

    async def tell(self) -> None:
        """Tells the status, if there is a reason to. Raises what the API server answers."""
        status = await self._status()
        quiet = _without_heartbeats(status)
        long_ago = time.monotonic() - self._told_at > self.node.configuration.duration("node_status_report_frequency")
        if quiet == self._told and not long_ago:
            return
        before = self.document.get("status") or {}
        patch = {"status": patches.node_status(status, before)}
        self.document = await self.cluster.patch("Node", self.node.name, patch, status=True)
        self._told, self._told_at = quiet, time.monotonic()
        self._announce(before, self.document["status"])

    def _announce(self, before: Document, now: Document) -> None:
        """Tells of conditions that have changed and of a boot, as kubectl describe shows them."""
        was = {item["type"]: item["status"] for item in before.get("conditions") or ()}
        for item in now["conditions"]:
            if item["reason"].startswith("Kubelet") and item["status"] != was.get(item["type"]):
                reason = f"Node{item['reason'].removeprefix('Kubelet')}"
                self._event("Normal", reason, f"Node {self.node.name} status is now: {reason}")
        boot, here = (before.get("nodeInfo") or {}).get("bootID"), self.node.machine.boot_id
        if boot and boot != here:
            self._event("Warning", "Rebooted", f"Node {self.node.name} has been rebooted, boot id: {here}")

    def _event(self, kind: Kind, reason: str, message: str) -> None:
        self.node.recorder.tell(About("Node", self.node.name, "", self.node.name), kind, reason, message)

    async def _status(self) -> Document:
        if time.monotonic() - self._images_at > _IMAGES_PERIOD:
            try:
                self._images, self._images_at = list((await self.node.cri.list_images()).images), time.monotonic()
            except PodwrightError as error:
                logger.debug("images of the node: %s", error)
        now = rfc3339(now_ns())
        old = (self.document.get("status") or {}).get("conditions") or ()
        found = timed(node_object.conditions(self.health, self.pressures), old, now)
        beating = [{**item, "lastHeartbeatTime": now} for item in found]
        return node_object.status(self.node, self._images, self.health.last, beating)


def _without_heartbeats(status: Document) -> Document:
    conditions: list[dict[str, Any]] = status["conditions"]
    quiet = [{key: value for key, value in item.items() if key != "lastHeartbeatTime"} for item in conditions]
    return {**status, "conditions": quiet}
