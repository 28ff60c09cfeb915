"""Config maps, secrets, tokens and runtime classes out of a cluster.

Containers start with what there is now; what is in volumes is a minute old at most before it is brought up to date.
Only what a pod of this node refers to is asked for, as the API server's node authoriser demands.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from podwright.errors import NotFound
from podwright.node.cluster.client import Cluster, Document
from podwright.node.cluster.services import Services
from podwright.node.node_pods import NodePod
from podwright.node.times import seconds
from podwright.pods.objects import Objects
from podwright.pods.references import references
from podwright.pods.schema import TokenSource

_KEPT: Final = 60.0  # seconds
_SHARE_OF_LIFE: Final = 0.8  # of a token, after which it is renewed
_LONGEST_KEPT: Final = 24 * 3600.0


@dataclass(slots=True)
class ClusterObjects:
    """See context.ObjectSource."""

    cluster: Cluster
    services: Services
    _kept: dict[tuple[str, str, str], tuple[float, Document | None]] = field(default_factory=dict)
    _tokens: dict[tuple[str, str, int], tuple[float, str]] = field(default_factory=dict)

    async def objects(self, pod: NodePod, *, fresh: bool) -> Objects:
        """See context.ObjectSource."""
        named = references(pod.pod)
        if fresh:
            self._forget_kept("ConfigMap", pod.namespace, named.config_maps)
            self._forget_kept("Secret", pod.namespace, named.secrets)
        config_maps = await self._all("ConfigMap", pod.namespace, named.config_maps, _config_map)
        secrets = await self._all("Secret", pod.namespace, named.secrets, _secret)
        tokens = {
            (wanted.audience, wanted.expiration_seconds): await self._token(pod, wanted) for wanted in named.tokens
        }
        return Objects(config_maps, secrets, tokens, await self.services.variables(pod.namespace))

    async def pull_secrets(self, pod: NodePod) -> list[Mapping[str, bytes]]:
        """See context.ObjectSource."""
        names = {wanted.name for wanted in pod.pod.spec.image_pull_secrets if wanted.name}
        self._forget_kept("Secret", pod.namespace, names)
        return list((await self._all("Secret", pod.namespace, names, _secret)).values())

    async def handler(self, runtime_class: str) -> str:
        """See context.ObjectSource."""
        found = await self.cluster.get("RuntimeClass", runtime_class)
        handler: str = found["handler"]
        return handler

    def forget(self, pod: NodePod) -> None:
        """The pod is gone."""
        for key in [key for key in self._tokens if key[0] == pod.uid]:
            del self._tokens[key]

    def _forget_kept(self, kind: str, namespace: str, names: set[str]) -> None:
        for name in names:
            self._kept.pop((kind, namespace, name), None)

    async def _all(
        self, kind: str, namespace: str, names: set[str], read: Callable[[Document], Mapping[str, bytes]]
    ) -> dict[str, Mapping[str, bytes]]:
        ordered = sorted(names)
        gets: list[Awaitable[Document | None]] = [self._get(kind, namespace, name) for name in ordered]
        found = await asyncio.gather(*gets)
        return {name: read(item) for name, item in zip(ordered, found, strict=True) if item is not None}

    async def _get(self, kind: str, namespace: str, name: str) -> Document | None:
        key, now = (kind, namespace, name), time.monotonic()
        if key in self._kept and self._kept[key][0] > now and self._kept[key][1] is not None:
            return self._kept[key][1]
        try:
            found: Document | None = await self.cluster.get(kind, name, namespace)
        except NotFound:
            found = None
        self._kept = {old: item for old, item in self._kept.items() if item[0] > now}
        self._kept[key] = now + _KEPT, found
        return found

    async def _token(self, pod: NodePod, wanted: TokenSource) -> str:
        key, now = (pod.uid, wanted.audience, wanted.expiration_seconds), time.time()
        if key in self._tokens and self._tokens[key][0] > now:
            return self._tokens[key][1]
        account = pod.pod.spec.service_account_name or "default"
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
        spec: Document = {"expirationSeconds": wanted.expiration_seconds, "boundObjectRef": bound, "audiences": []}
        if wanted.audience:
            spec["audiences"] = [wanted.audience]
        answer = await self.cluster.token(account, pod.namespace, {"metadata": {}, "spec": spec})
        token: str = answer["status"]["token"]
        ends = seconds(answer["status"].get("expirationTimestamp")) or now + wanted.expiration_seconds
        self._tokens[key] = now + min((ends - now) * _SHARE_OF_LIFE, _LONGEST_KEPT), token
        return token


def _config_map(document: Document) -> Mapping[str, bytes]:
    text: dict[str, str] = document.get("data") or {}
    return {key: value.encode() for key, value in text.items()} | _binary(document.get("binaryData"))


def _secret(document: Document) -> Mapping[str, bytes]:
    return _binary(document.get("data"))


def _binary(data: object) -> dict[str, bytes]:
    typed = msgspec.convert(data or {}, dict[str, str])
    return {key: base64.b64decode(value) for key, value in typed.items()}
