"""A registry for tests: a real HTTP server in threads, which serves what was pushed to it and misbehaves as it is told.

    with FakeRegistry() as registry:
        registry.push("app/web", "1.0", image(layer(file("hello"))))
        registry.fault("/blobs/", cut=100, times=1)     # the first blob breaks off after 100 bytes
        ...
        assert registry.asked("GET", "/blobs/") == 2

Owns no verification: lies are served as told.
"""

import base64
import http.server
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from podwright.testing.images import Built, digest_of

_CHUNK: Final = 16 << 10
_PATH: Final = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<version>[^/]+)")
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for."""

    method: str
    path: str
    """With the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""


@dataclass(slots=True)
class Fault:
    """What goes wrong with requests whose path holds `path`."""

    path: str
    times: int
    """How often it goes wrong; -1: always."""
    after: int
    """How many such requests go well before."""
    method: str = ""
    """Only with these; empty for all."""
    status: int = 0
    """Answers with this instead."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to the answer."""
    cut: int | None = None
    """Closes the connection after so many bytes of the body."""
    stall: int | None = None
    """Says no more after so many bytes of the body, until `FakeRegistry.go_on`."""
    rate: int = 0
    """Sends so many bytes a second."""
    body: bytes | None = None
    """Sends this instead."""
    ranges: str = ""
    """"ignored": answers with all; "shifted": answers with other bytes than those asked for; "refused": with 416."""
    length: int | None = None
    """Says that the body has so many bytes."""
    gate: threading.Event = field(default_factory=threading.Event)
    """What a stall waits for."""

    def matches(self, method: str, path: str) -> bool:
        """Whether it is this one's turn; counts."""
        if self.path not in path or self.method not in ("", method) or not self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1 if self.times > 0 else 0
        return True


_NO_FAULT: Final = Fault("", 0, 0)


class FakeRegistry:
    """The server; a context manager. `host` is what references begin with."""

    def __init__(
        self,
        *,
        listener: socket.socket | None = None,
        certificate: str = "",
        key: str = "",
        client_ca: str = "",
    ) -> None:
        """`listener` is a socket to serve on, such as one of another network namespace. With `certificate` and `key`
        (files) it speaks TLS; `client_ca` is what it wants certificates of clients signed by.
        """
        self._lock = threading.Lock()
        self._blobs: dict[str, bytes] = {}
        self._manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._faults: list[Fault] = []
        self._accounts: dict[str, str] = {}
        self._scheme = ""
        self._realm = ""
        self.tokens: set[str] = set()
        """Bearer tokens that are good; may be shared with another registry, whose token service grants them."""
        self._wake = threading.Event()
        self.requests: list[Request] = []
        """All that was asked, in order."""
        self.bytes_sent = 0
        """Of bodies of blobs."""
        self.refresh_token = ""
        """An identity token that the token service takes."""
        self._server = _Server(self, listener)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            if client_ca:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            self._server.context = context
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if certificate else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._wake.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # ---- content

    def push(self, repository: str, tag: str, built: Built) -> str:
        """Takes an image or index in; returns the reference with the tag."""
        for part in built.parts:
            self.push(repository, part.digest, part)
        self._blobs.update(built.blobs)
        self._manifests[repository, tag] = self._manifests[repository, built.digest] = (built.media_type, built.body)
        return f"{self.host}/{repository}:{tag}"

    def drop(self, digest: str) -> None:
        """Loses a blob."""
        del self._blobs[digest]

    # ---- behaviour

    def fault(
        self,
        path: str,
        *,
        times: int = -1,
        after: int = 0,
        method: str = "",
        status: int = 0,
        headers: Mapping[str, str] | None = None,
        cut: int | None = None,
        stall: int | None = None,
        rate: int = 0,
        body: bytes | None = None,
        ranges: str = "",
        length: int | None = None,
    ) -> None:
        """Lets something go wrong; see Fault. Of several that match the one told last is taken."""
        with self._lock:
            added = Fault(
                path, times, after, method, status, headers or {}, cut, stall, rate, body, ranges, length, self._wake
            )
            self._faults.insert(0, added)

    def behave(self) -> None:
        """From now on nothing goes wrong, and what stalls goes on."""
        with self._lock:
            self._faults.clear()
        self.go_on()

    def go_on(self) -> None:
        """What stalls goes on, and what was told so far to stall and has not begun to will not."""
        with self._lock:
            self._wake.set()
            self._wake = threading.Event()

    def require_basic(self, accounts: Mapping[str, str]) -> None:
        """Wants a user name and a password with each request."""
        self._scheme, self._accounts = "basic", dict(accounts)

    def require_nothing(self) -> None:
        """Serves everybody."""
        self._scheme = ""

    def require_token(self, accounts: Mapping[str, str] | None = None, *, realm: str = "") -> None:
        """Wants a token of the token service at `realm`, its own if that is empty. The service wants one of the
        accounts, or nothing if there are none.
        """
        self._scheme, self._accounts, self._realm = "bearer", dict(accounts or {}), realm or f"{self.url}/token"

    def asked(self, method: str, path: str) -> int:
        """How many requests there were whose path holds `path`."""
        return sum(one.method == method and path in one.path for one in self.requests)

    # ---- for the server's threads

    def answer(self, handler: "_Handler", request: Request) -> None:
        """Answers one request."""
        with self._lock:
            self.requests.append(request)
            found = next((one for one in self._faults if one.matches(request.method, request.path)), _NO_FAULT)
            fault = replace(found)
        parts = urllib.parse.urlsplit(request.path)
        if parts.path == "/token" and not fault.status:
            self._token_service(handler, request)
            return
        refusal = self._refusal(request)
        if fault.status:
            body = _error(fault.status) if fault.body is None else fault.body
            handler.reply(fault.status, body, fault.headers, fault)
        elif refusal:
            handler.reply(401, _error(401), {"WWW-Authenticate": refusal})
        elif match := _PATH.fullmatch(parts.path):
            self._serve(handler, request, match, fault)
        else:
            handler.reply(200 if parts.path.rstrip("/") == "/v2" else 404, b"{}")

    def _serve(self, handler: "_Handler", request: Request, match: re.Match[str], fault: Fault) -> None:
        version = urllib.parse.unquote(match["version"])
        if match["kind"] == "manifests":
            media_type, body = self._manifests.get((match["repository"], version), ("", b""))
            headers = {"Content-Type": media_type, "Docker-Content-Digest": digest_of(body)}
            missing = not media_type
        else:
            body, headers = self._blobs.get(version, b""), {"Content-Type": "application/octet-stream"}
            missing = version not in self._blobs
        if missing:
            handler.reply(404, _error(404))
            return
        body = body if fault.body is None else fault.body
        status, part, described = _ranged(request.headers.get("range", ""), body, headers, fault)
        handler.reply(status, part, {**described, **fault.headers}, fault)

    def _refusal(self, request: Request) -> str:
        """The challenge; empty if the request is as it should be."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        match self._scheme:
            case "basic":
                return "" if scheme == "Basic" and self._knows(given) else 'Basic realm="registry"'
            case "bearer":
                good = scheme == "Bearer" and given in self.tokens
                return "" if good else f'Bearer realm="{self._realm}",service="fake",scope="repository:x:pull"'
        return ""

    def _knows(self, credentials: str) -> bool:
        try:
            user, _, password = base64.b64decode(credentials).decode().partition(":")
        except ValueError:
            return False
        return user in self._accounts and self._accounts[user] == password

    def _token_service(self, handler: "_Handler", request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        form = urllib.parse.parse_qs(request.body.decode())
        if request.method == "POST":
            good = form.get("grant_type") == ["refresh_token"] and form.get("refresh_token") == [self.refresh_token]
        else:
            good = not self._accounts or (scheme == "Basic" and self._knows(given))
        if not good:
            handler.reply(401, _error(401))
            return
        token = f"token-{len(self.requests)}"
        self.tokens.add(token)
        key = "access_token" if request.method == "POST" else "token"
        handler.reply(200, json.dumps({key: token, "expires_in": 60}).encode(), {"Content-Type": "application/json"})


def _ranged(asked: str, body: bytes, headers: Mapping[str, str], fault: Fault) -> tuple[int, bytes, Mapping[str, str]]:
    match = _RANGE.fullmatch(asked)
    if not match or fault.ranges == "ignored":
        return 200, body, headers
    if fault.ranges == "refused":
        return 416, b"", headers
    start, end = int(match[1]), min(int(match[2] or len(body) - 1), len(body) - 1)
    if fault.ranges == "shifted":
        start = start - 1 if start else 1
    return 206, body[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{len(body)}"}


def _error(status: int) -> bytes:
    code = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}.get(status, "UNKNOWN")
    return json.dumps({"errors": [{"code": code, "message": "as told"}]}).encode()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    context: ssl.SSLContext | None = None

    def __init__(self, registry: FakeRegistry, listener: socket.socket | None) -> None:
        self.registry = registry
        super().__init__(("127.0.0.1", 0), _Handler, bind_and_activate=listener is None)
        if listener is not None:
            self.socket.close()
            self.socket = listener
            self.server_address = listener.getsockname()

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """TLS, in the connection's own thread."""
        assert isinstance(request, socket.socket)
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:  # the client does not like us
                return
        with request:
            super().finish_request(request, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may leave whenever they like."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name for it
        """Tests are quiet."""

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self.rfile.read(length))
        self.server.registry.answer(self, request)

    do_HEAD = do_POST = do_GET  # noqa: N815

    def reply(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, fault: Fault = _NO_FAULT
    ) -> None:
        """Sends an answer, as far as the fault lets it."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if fault.length is None else fault.length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault.cut is not None:
            body = body[: fault.cut]
        waits = fault.stall
        step = min(_CHUNK, fault.rate // 10) if fault.rate else _CHUNK
        for start in range(0, len(body), step):
            piece = body[start : start + step]
            if waits is not None and start + len(piece) > waits:
                self.wfile.write(piece[: max(0, waits - start)])
                fault.gate.wait()
                piece, waits = piece[max(0, waits - start) :], None
            self.wfile.write(piece)
            self.server.registry.bytes_sent += len(piece)
            if fault.rate:
                time.sleep(len(piece) / fault.rate)
        if fault.cut is not None or fault.length is not None:
            self.close_connection = True
