"""A small API server: enough of Kubernetes' for a node, in memory, over TLS, with the shapes of the official OpenAPI.

Faithful in what a node relies on: resource versions, watches that follow a list, field selectors, conflicts,
strategic merge of the lists that have keys, status subresources, graceful deletion of pods, generated uids. Everything
that is written is checked against lightkube's models, which are made of the OpenAPI document: a field that the API
does not have, or of another type, is refused.

It answers TokenReview and SubjectAccessReview by two dictionaries of the test, and leads log, exec, attach and
port-forward requests to the node, as the real one does.
"""

import asyncio
import contextlib
import datetime as dt
import importlib
import json
import re
import socket
import ssl
import threading
import urllib.parse
import uuid
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import h11

from podwright.kernel import libc, mounts
from support.pki import Authority
from support.shapes import check, merge

Document = dict[str, Any]
T = TypeVar("T")

KINDS = {
    "nodes": ("v1", "Node", "core_v1"),
    "pods": ("v1", "Pod", "core_v1"),
    "events": ("v1", "Event", "core_v1"),
    "services": ("v1", "Service", "core_v1"),
    "configmaps": ("v1", "ConfigMap", "core_v1"),
    "secrets": ("v1", "Secret", "core_v1"),
    "serviceaccounts": ("v1", "ServiceAccount", "core_v1"),
    "leases": ("coordination.k8s.io/v1", "Lease", "coordination_v1"),
    "runtimeclasses": ("node.k8s.io/v1", "RuntimeClass", "node_v1"),
    "tokenreviews": ("authentication.k8s.io/v1", "TokenReview", "authentication_v1"),
    "subjectaccessreviews": ("authorization.k8s.io/v1", "SubjectAccessReview", "authorization_v1"),
}
_LED = re.compile(r"/api/v1/namespaces/(?P<namespace>[^/]+)/pods/(?P<name>[^/]+)/(?P<what>log|exec|attach|portforward)")
_READ = ["get", "list", "watch"]
DISCOVERY: dict[str, Document] = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": _READ},
            {"name": "nodes", "singularName": "node", "namespaced": False, "kind": "Node", "verbs": _READ},
        ],
    },
}
"""What kubectl asks before anything else."""


class Refused(Exception):
    """A failure, as a Status object says it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class Store:
    """The objects and their history."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Document] = {}
        self.history: list[tuple[int, str, str, Document]] = []
        """Version, plural, type of change, object."""
        self.version = 0
        self.changed = asyncio.Condition()

    async def put(self, plural: str, change: str, document: Document) -> Document:
        """Records a change."""
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        key = (plural, document["metadata"].get("namespace", ""), document["metadata"]["name"])
        if change == "DELETED":
            self.objects.pop(key, None)
        else:
            self.objects[key] = document
        self.history.append((self.version, plural, change, json.loads(json.dumps(document))))
        async with self.changed:
            self.changed.notify_all()
        return document

    def get(self, plural: str, namespace: str, name: str) -> Document:
        """An object. Raises Refused."""
        found = self.objects.get((plural, namespace, name))
        if found is None:
            raise Refused(404, "NotFound", f'{plural} "{name}" not found')
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]


@dataclass
class ApiServer:
    """The server, on an event loop of its own thread; use it in a `with`."""

    authority: Authority
    host: str = "127.0.0.1"
    port: int = 0
    tokens: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """Whose a bearer token is: user and groups."""
    allowed: set[tuple[str, str, str]] = field(default_factory=set)
    """Who may: user, verb, subresource of nodes."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """What was asked: user, method, path."""
    forbidden: set[str] = field(default_factory=set)
    """Paths that nobody may write to."""
    broken: bool = False
    """Every request fails with 503."""
    namespace: str = ""
    """The network namespace that it is in, as a file; empty: the test's own."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Does something on the server's loop."""
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(timeout=30)

    # what tests do

    def create(self, plural: str, document: Document, namespace: str = "default") -> Document:
        """Makes an object."""
        return self.run(self._create(plural, "" if plural in {"nodes", "runtimeclasses"} else namespace, document))

    def delete(self, plural: str, name: str, namespace: str = "default", grace: int | None = None) -> None:
        """Deletes an object."""
        self.run(self._delete(plural, namespace, name, grace))

    def patch(self, plural: str, name: str, patch: Document, *, status: bool = False) -> Document:
        """Merges something into an object of the namespace default."""
        return self.run(self._patch(plural, "default", name, patch, status=status))

    def asked(self, path: str) -> bool:
        """Whether somebody has asked for a path."""
        return any(asked == path for _, _, asked in list(self.requests))

    def get(self, plural: str, name: str, namespace: str = "default") -> Document | None:
        """An object, or None."""
        return self._store.objects.get((plural, namespace, name))

    @property
    def version(self) -> int:
        """The version of the last change."""
        return self._store.version

    def changes(self, plural: str, name: str, since: int) -> list[Document]:
        """What an object has been after a version, one state after the other."""
        return [
            document
            for version, of, _, document in list(self._store.history)
            if version > since and of == plural and document["metadata"]["name"] == name
        ]

    def all(self, plural: str) -> list[Document]:
        """All of a kind."""
        return [item for key, item in list(self._store.objects.items()) if key[0] == plural]

    def kubeconfig(self, user: str, *groups: str) -> Path:
        """A kubeconfig with a client certificate of the user."""
        certificate, key = self.authority.issue(user, *groups)
        path = self.authority.directory / f"{user.replace(':', '_')}.kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [
                        {
                            "name": "c",
                            "cluster": {
                                "server": f"https://{self.host}:{self.port}",
                                "certificate-authority": str(self.authority.directory / "ca.crt"),
                            },
                        }
                    ],
                    "users": [{"name": "u", "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
                }
            )
        )
        return path

    # the server

    async def _start(self) -> None:
        self._store = Store()
        certificate, key = self.authority.issue("apiserver", address=self.host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(self.authority.directory / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        self._connections: set[asyncio.Task[None]] = set()
        listener = self._socket()
        listener.bind((self.host, self.port))
        self._server = await asyncio.start_server(self._connected, sock=listener, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def hang_up(self) -> None:
        """Cuts all connections, as a restart would."""

        async def cut() -> None:
            for task in list(self._connections):
                task.cancel()

        self.run(cut())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        with contextlib.suppress(OSError, h11.ProtocolError, asyncio.CancelledError, ssl.SSLError):
            await self._converse(reader, writer)
        self._connections.discard(task)
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        user = ""
        for relative in (writer.get_extra_info("peercert") or {}).get("subject", ()):
            user = next((value for key, value in relative if key == "commonName"), user)
        while True:
            request, body = await _request(connection, reader)
            if request is None:
                return
            target = urllib.parse.urlsplit(request.target.decode())
            query = dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True))
            self.requests.append((user, request.method.decode(), target.path))

            async def send(status: int, document: Document | None, *, more: bool = False) -> None:
                if document is None:
                    head = h11.Response(status_code=status, headers=[("Content-Type", "application/json")])
                    writer.write(connection.send(head) or b"")
                else:
                    data = json.dumps(document).encode() + b"\n"
                    if not more:
                        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
                        writer.write(connection.send(h11.Response(status_code=status, headers=headers)) or b"")
                    writer.write(connection.send(h11.Data(data=data)) or b"")
                    if not more:
                        writer.write(connection.send(h11.EndOfMessage()) or b"")
                await writer.drain()

            try:
                if found := _LED.fullmatch(target.path):
                    await self._lead(found, target.query, request, connection.trailing_data[0], reader, writer)
                    return
                if self.broken:
                    raise Refused(503, "ServiceUnavailable", "the server is not ready")
                if target.path in self.forbidden and request.method != b"GET":
                    raise Refused(403, "Forbidden", f"{target.path} is forbidden")
                if query.get("watch") == "true":
                    await self._watch(target.path, query, send)
                    return
                kind = next((value.decode() for key, value in request.headers if key == b"content-type"), "")
                document = json.loads(body) if body else None
                answer = await self._answer(request.method.decode(), target.path, query, document, kind)
                await send(201 if request.method == b"POST" else 200, answer)
            except Refused as error:
                await send(
                    error.code,
                    {
                        "apiVersion": "v1",
                        "kind": "Status",
                        "status": "Failure",
                        "code": error.code,
                        "reason": error.reason,
                        "message": str(error),
                    },
                )
            connection.start_next_cycle()

    def _parts(self, path: str) -> tuple[str, str, str, str]:
        """Plural, namespace, name, subresource."""
        words = path.strip("/").split("/")
        words = words[2:] if words[0] == "api" else words[3:]
        namespace = ""
        if words and words[0] == "namespaces" and len(words) > 2:
            namespace, words = words[1], words[2:]
        plural, name, sub = [*words, "", "", ""][:3]
        if plural not in KINDS:
            raise Refused(404, "NotFound", f"the server could not find the requested resource: {path}")
        return plural, namespace, name, sub

    async def _lead(
        self,
        found: re.Match[str],
        query: str,
        request: h11.Request,
        more: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Leads a client to the kubelet, as registry/core/pod/rest does; both sides may speak what they like then."""
        pod = self._store.get("pods", found["namespace"], found["name"])
        status = self._store.get("nodes", "", pod["spec"]["nodeName"])["status"]
        address = next(item["address"] for item in status["addresses"] if item["type"] == "InternalIP")
        container = dict(urllib.parse.parse_qsl(query)).get("container", pod["spec"]["containers"][0]["name"])
        place = f"{found['namespace']}/{found['name']}"
        path = {
            "log": f"/containerLogs/{place}/{container}",
            "exec": f"/exec/{place}/{container}",
            "attach": f"/attach/{place}/{container}",
            "portforward": f"/portForward/{place}",
        }[found["what"]]
        certificate, key = self.authority.issue("kube-apiserver", "system:masters")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(certificate, key)
        sock = self._socket()
        sock.setblocking(False)
        port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        upstream, downstream = await asyncio.open_connection(sock=sock, ssl=context, server_hostname="kubelet")
        head = f"{request.method.decode()} {path}?{query} HTTP/1.1\r\n".encode()
        head += b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw_items())
        downstream.write(head + b"\r\n" + more)
        carriers = [
            asyncio.create_task(_carry(reader, downstream)),
            asyncio.create_task(_carry(upstream, writer)),
        ]
        await asyncio.wait(carriers, return_when=asyncio.FIRST_COMPLETED)
        for task in carriers:
            task.cancel()
        downstream.close()

    def _socket(self) -> socket.socket:
        """A socket in the server's network namespace."""

        def make() -> socket.socket:
            if self.namespace:
                with open(self.namespace, "rb") as file:
                    libc.setns(file.fileno(), 0)
            made = socket.socket()
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return made

        return mounts.in_thread_of_its_own(make)

    async def _answer(
        self, method: str, path: str, query: dict[str, str], body: Document | None, kind: str
    ) -> Document:
        if path in DISCOVERY:
            return DISCOVERY[path]
        plural, namespace, name, sub = self._parts(path)
        if method == "GET" and not name:
            version, shown, _ = KINDS[plural]
            items = [item for item in self.all(plural) if _selected(item, namespace, query.get("fieldSelector", ""))]
            metadata = {"resourceVersion": str(self._store.version)}
            return {"apiVersion": version, "kind": f"{shown}List", "metadata": metadata, "items": items}
        if method == "GET":
            return self._store.get(plural, namespace, name)
        if method == "DELETE":
            grace = (body or {}).get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
            return await self._delete(plural, namespace, name, None if grace is None else int(grace))
        assert body is not None
        if method == "POST" and sub == "token":
            return self._token(namespace, name, body)
        if method == "POST":
            return await self._create(plural, namespace, body)
        if method == "PUT":
            return await self._replace(plural, namespace, name, body)
        if method == "PATCH":
            assert kind == "application/strategic-merge-patch+json", kind
            return await self._patch(plural, namespace, name, body, status=sub == "status")
        raise Refused(405, "MethodNotAllowed", method)

    async def _create(self, plural: str, namespace: str, document: Document) -> Document:
        if plural == "tokenreviews":
            return self._review_token(document)
        if plural == "subjectaccessreviews":
            return self._review_access(document)
        self._check(plural, document)
        self._check_owners(document)
        name = document["metadata"]["name"]
        if (plural, namespace, name) in self._store.objects:
            raise Refused(409, "AlreadyExists", f'{plural} "{name}" already exists')
        version, kind, _ = KINDS[plural]
        metadata = {
            **document["metadata"],
            "uid": str(uuid.uuid4()),
            "creationTimestamp": _now(),
            **({"namespace": namespace} if namespace else {}),
        }
        made = {**document, "apiVersion": version, "kind": kind, "metadata": metadata}
        if plural == "pods":
            made.setdefault("status", {"phase": "Pending"})
        return await self._store.put(plural, "ADDED", made)

    async def _replace(self, plural: str, namespace: str, name: str, document: Document) -> Document:
        self._check(plural, document)
        old = self._store.get(plural, namespace, name)
        if document["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", f'Operation cannot be fulfilled on {plural} "{name}": it has been modified')
        return await self._store.put(
            plural, "MODIFIED", {**document, "metadata": {**old["metadata"], **document["metadata"]}}
        )

    async def _patch(self, plural: str, namespace: str, name: str, patch: Document, *, status: bool) -> Document:
        old = self._store.get(plural, namespace, name)
        wanted = (patch.get("metadata") or {}).get("uid")
        if wanted is not None and wanted != old["metadata"]["uid"]:
            raise Refused(409, "Conflict", f"the uid is {old['metadata']['uid']}, not {wanted}")
        if status:
            patch = {"status": patch.get("status", {})}
        new = merge(old, patch)
        self._check(plural, new)
        return await self._store.put(plural, "MODIFIED", new)

    async def _delete(self, plural: str, namespace: str, name: str, grace: int | None) -> Document:
        old = self._store.get(plural, namespace, name)
        if plural == "pods":
            if grace is None:
                grace = old["spec"].get("terminationGracePeriodSeconds", 30)
            if grace > 0 and old["spec"].get("nodeName"):
                before = old["metadata"].get("deletionGracePeriodSeconds")
                ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=grace)
                old["metadata"]["deletionTimestamp"] = ends.strftime("%Y-%m-%dT%H:%M:%SZ")
                old["metadata"]["deletionGracePeriodSeconds"] = grace if before is None else min(before, grace)
                return await self._store.put(plural, "MODIFIED", old)
        gone = await self._store.put(plural, "DELETED", old)
        if plural == "nodes":
            await self._collect_garbage(old["metadata"]["uid"])
        return gone

    async def _collect_garbage(self, owner: str) -> None:
        """Deletes what an object owned that is gone, as the controller of that name does."""
        for (plural, _, _), item in list(self._store.objects.items()):
            if owner in {reference["uid"] for reference in item["metadata"].get("ownerReferences", ())}:
                await self._store.put(plural, "DELETED", item)

    async def _watch(self, path: str, query: dict[str, str], send: Any) -> None:
        plural, namespace, _, _ = self._parts(path)
        selector = query.get("fieldSelector", "")
        at = int(query.get("resourceVersion") or self._store.version)
        await send(200, None)
        while True:
            for version, of, change, document in self._store.history:
                if version > at and of == plural and _selected(document, namespace, selector):
                    await send(200, {"type": change, "object": document}, more=True)
            at = self._store.version
            async with self._store.changed:
                while self._store.version <= at:
                    await self._store.changed.wait()

    def _token(self, namespace: str, account: str, body: Document) -> Document:
        self._store.get("serviceaccounts", namespace, account)
        seconds = body["spec"].get("expirationSeconds", 3600)
        audience = ",".join(body["spec"].get("audiences") or ["api"])
        ends = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        token = f"token-of-{namespace}-{account}-for-{audience}-{body['spec']['boundObjectRef']['name']}"
        return {**body, "status": {"token": token, "expirationTimestamp": ends}}

    def _review_token(self, document: Document) -> Document:
        found = self.tokens.get(document["spec"]["token"])
        user = {"username": found[0], "groups": [*found[1], "system:authenticated"]} if found else {}
        return {**document, "metadata": {}, "status": {"authenticated": found is not None, "user": user}}

    def _review_access(self, document: Document) -> Document:
        wanted = document["spec"]["resourceAttributes"]
        key = (document["spec"]["user"], wanted["verb"], wanted["subresource"])
        return {**document, "metadata": {}, "status": {"allowed": key in self.allowed}}

    def _check_owners(self, document: Document) -> None:
        """NodeRestriction: what a node owns must name the Node object that there is."""
        for owner in document["metadata"].get("ownerReferences", ()):
            if owner["kind"] != "Node":
                continue
            if self._store.get("nodes", "", owner["name"])["metadata"]["uid"] != owner["uid"]:
                raise Refused(403, "Forbidden", f"node {owner['name']} UID mismatch: {owner['uid']}")

    def _check(self, plural: str, document: Document) -> None:
        """Refuses what the API does not have."""
        _, kind, module = KINDS[plural]
        model = getattr(importlib.import_module(f"lightkube.models.{module}"), kind)
        try:
            check(document, model, kind)
        except ValueError as error:
            raise Refused(422, "Invalid", str(error)) from None


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request | None, bytes]:
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            return request, body


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


def _selected(document: Document, namespace: str, selector: str) -> bool:
    if namespace and document["metadata"].get("namespace") != namespace:
        return False
    for term in filter(None, selector.split(",")):
        path, _, wanted = term.partition("=")
        value: Any = document
        for part in path.split("."):
            value = (value or {}).get(part)
        if value != wanted.lstrip("="):
            return False
    return True


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
