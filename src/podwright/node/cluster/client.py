"""The way to an API server: lightkube, with objects as the API's JSON has them and with our kinds of errors.

lightkube knows kubeconfig files, credentials, TLS and watches; no other module imports it.
"""

import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal

import httpx2
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core import resource
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError, ConfigError
from lightkube.generic_resource import Generic, create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

from podwright.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PodwrightError,
    Unauthenticated,
    Unavailable,
)

Document = dict[str, Any]
Change = Literal["ADDED", "MODIFIED", "DELETED"]

_GLOBAL: Final = {
    "Node": ("", "v1", "nodes"),
    "RuntimeClass": ("node.k8s.io", "v1", "runtimeclasses"),
    "TokenReview": ("authentication.k8s.io", "v1", "tokenreviews"),
    "SubjectAccessReview": ("authorization.k8s.io", "v1", "subjectaccessreviews"),
}
_NAMESPACED: Final = {
    "Pod": ("", "v1", "pods"),
    "Event": ("", "v1", "events"),
    "Service": ("", "v1", "services"),
    "ConfigMap": ("", "v1", "configmaps"),
    "Secret": ("", "v1", "secrets"),
    "Lease": ("coordination.k8s.io", "v1", "leases"),
}
_KEPT_ALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000),
]
"""Dead after 45 s of silence, as client-go's connections are."""
_KINDS: Final[Mapping[int, type[PodwrightError]]] = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Aborted,
    422: InvalidArgument,
}


class _Token(resource.NamespacedSubResource, Generic):  # type: ignore[misc]
    """serviceaccounts/NAME/token."""

    _api_info = resource.ApiInfo(
        resource=resource.ResourceDef("authentication.k8s.io", "v1", "TokenRequest"),
        parent=resource.ResourceDef("", "v1", "ServiceAccount"),
        plural="serviceaccounts",
        verbs=["post"],
        action="token",
    )


class Cluster:
    """A client of one API server. All methods raise Unavailable if it does not answer."""

    def __init__(self, kubeconfig: str, node: str) -> None:
        """Reads a kubeconfig file. Raises InvalidArgument."""
        try:
            config = KubeConfig.from_file(kubeconfig).get()
            assert config is not None
            manager = f"podwright-node-{node}"[:128]
            self._client = AsyncClient(config, field_manager=manager, trust_env=False, transport=_transport(config))
        except (ConfigError, OSError, ValueError, KeyError, AssertionError) as error:
            raise InvalidArgument(f"kubeconfig {kubeconfig}: {error}") from None
        self._resources: dict[str, Any] = {
            **{kind: create_global_resource(group, v, kind, plural) for kind, (group, v, plural) in _GLOBAL.items()},
            **{
                kind: create_namespaced_resource(group, v, kind, plural)
                for kind, (group, v, plural) in _NAMESPACED.items()
            },
        }

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.close()

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Document:
        """An object. Raises NotFound."""
        try:
            return dict(await self._client.get(self._resources[kind], name, **_in(namespace)))
        except (ApiError, httpx2.HTTPError) as error:
            raise _translated(error, f"{kind} {name}") from None

    async def create(self, kind: str, document: Document, namespace: str | None = None) -> Document:
        """Makes an object. Raises AlreadyExists."""
        made = self._resources[kind](document)
        try:
            return dict(await self._client.create(made, **_in(namespace)))
        except (ApiError, httpx2.HTTPError) as error:
            raise _translated(error, f"{kind} {document.get('metadata', {}).get('name', '')}") from None

    async def replace(self, kind: str, document: Document, namespace: str | None = None) -> Document:
        """Replaces an object; its resourceVersion must be the present one, else Aborted is raised."""
        name = document["metadata"]["name"]
        try:
            return dict(await self._client.replace(self._resources[kind](document), name, **_in(namespace)))
        except (ApiError, httpx2.HTTPError) as error:
            raise _translated(error, f"{kind} {name}") from None

    async def patch(
        self, kind: str, name: str, patch: Document, namespace: str | None = None, *, status: bool = False
    ) -> Document:
        """Merges a patch into an object or its status, lists by their keys (strategic merge). Raises NotFound."""
        target = self._resources[kind].Status if status else self._resources[kind]
        try:
            return dict(await self._client.patch(target, name, patch, patch_type=PatchType.STRATEGIC, **_in(namespace)))
        except (ApiError, httpx2.HTTPError) as error:
            raise _translated(error, f"{kind} {name}") from None

    async def delete(self, kind: str, name: str, namespace: str, grace: int) -> None:
        """Deletes an object; a missing one is a success."""
        try:
            await self._client.delete(self._resources[kind], name, namespace=namespace, grace_period=grace)
        except (ApiError, httpx2.HTTPError) as error:
            translated = _translated(error, f"{kind} {name}")
            if not isinstance(translated, NotFound):
                raise translated from None

    async def token(self, account: str, namespace: str, request: Document) -> Document:
        """A token of a service account (TokenRequest). Raises NotFound."""
        body = _Token(apiVersion="authentication.k8s.io/v1", kind="TokenRequest", **request)
        try:
            return dict(await self._client.create(body, account, namespace=namespace))
        except (ApiError, httpx2.HTTPError) as error:
            raise _translated(error, f"token of service account {namespace}/{account}") from None

    async def list(self, kind: str, fields: Mapping[str, str] | None = None) -> tuple[list[Document], str]:
        """All objects of a kind with these fields, in all namespaces, and the version of the list."""
        try:
            answer = self._client.list(
                self._resources[kind], fields=dict(fields or {}), chunk_size=500, **_everywhere(kind)
            )
            items = [dict(item) async for item in answer]
        except (ApiError, httpx2.HTTPError) as error:
            raise _translated(error, f"list of {kind}") from None
        return items, answer.resourceVersion

    async def watch(
        self, kind: str, version: str, fields: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[Change, Document]]:
        """What happens to such objects after `version`, until the server ends it or something fails."""
        try:
            changes = self._client.watch(
                self._resources[kind], fields=dict(fields or {}), resource_version=version, **_everywhere(kind)
            )
            async for change, item in changes:
                yield change, dict(item)  # type: ignore[misc]
        except (ApiError, httpx2.HTTPError) as error:
            raise _translated(error, f"watch of {kind}") from None


def _transport(config: SingleConfig) -> httpx2.AsyncHTTPTransport:
    """Connections that notice when the other side is silently gone: a watch has no deadline of its own."""
    assert config.user is not None
    verified = verify_cluster(config.cluster, config.user, config.abs_file, trust_env=False)
    return httpx2.AsyncHTTPTransport(verify=verified, trust_env=False, socket_options=_KEPT_ALIVE)


def _everywhere(kind: str) -> dict[str, Any]:
    return {"namespace": "*"} if kind in _NAMESPACED else {}


def _in(namespace: str | None) -> dict[str, Any]:
    return {} if namespace is None else {"namespace": namespace}


def _translated(error: ApiError | httpx2.HTTPError, what: str) -> PodwrightError:
    if not isinstance(error, ApiError):
        return Unavailable(f"{what}: the API server does not answer: {str(error) or type(error).__name__}")
    status = error.status
    kind = _KINDS.get(status.code or 0, Unavailable)
    if status.reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(f"{what}: {status.message or status.reason or status.code}")
