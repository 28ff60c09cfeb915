"""The daemon's HTTP server for operators and Prometheus: /metrics, /pulls, /healthz, /debug/tasks.

A thread per request: making the page of metrics takes tens of milliseconds and is no work for the event loop. Off
unless an address is configured; it has no authentication, so the address should be a local one.
"""

import asyncio
import concurrent.futures
import dataclasses
import http.server
import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from podwright.core.runtime import Runtime
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.observe.dump import dump
from podwright.observe.metrics import Metrics

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOP_SECONDS = 5.0
"""How long the event loop may take to answer before the daemon is called unhealthy."""
READ_SECONDS = 10.0

Page = tuple[int, str, bytes]
"""Status, content type, content."""


class HttpServer:
    """The server, from its construction until `close`."""

    def __init__(self, address: str, runtime: Runtime, metrics: Metrics) -> None:
        """Listens on host:port. Raises InvalidArgument, FailedPrecondition if the address cannot be had."""
        self._loop = asyncio.get_running_loop()
        self._runtime = runtime
        self._pages: dict[str, Callable[[], Page]] = {
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", metrics.page()),
            "/pulls": self._pulls,
            "/healthz": self._health,
            "/debug/tasks": self._tasks,
        }
        host, port = _parse(address)
        try:
            self._server = _Server((host, port), self._pages)
        except OSError as error:
            raise FailedPrecondition(f"observe.address: cannot listen on {address}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="podwright-http", daemon=True)
        self._thread.start()
        logger.info("metrics are at http://%s:%d/metrics", *self._server.server_address[:2])

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()

    def _pulls(self) -> Page:
        pulls = self._on_loop(self._runtime.images.progress)
        return 200, "application/json", json.dumps([dataclasses.asdict(pull) for pull in pulls]).encode()

    def _health(self) -> Page:
        try:
            self._on_loop(lambda: None)
        except concurrent.futures.TimeoutError:
            return 503, "text/plain", f"the event loop has not answered for {LOOP_SECONDS:.0f} seconds\n".encode()
        return 200, "text/plain", b"ok\n"

    def _tasks(self) -> Page:
        return 200, "text/plain; charset=utf-8", self._on_loop(dump).encode() + b"\n"

    def _on_loop(self, work: Callable[[], T]) -> T:
        """Calls a function on the event loop, whose data others must not touch. Raises TimeoutError."""

        async def call() -> T:
            return work()

        coroutine: Coroutine[Any, Any, T] = call()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(LOOP_SECONDS)


def _parse(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise InvalidArgument(f'observe.address: "{address}" is not like 127.0.0.1:9477 or [::1]:9477')
    return host.strip("[]"), int(port)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], pages: dict[str, Callable[[], Page]]) -> None:
        self.pages = pages
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer would look its own name up, which can take seconds


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = READ_SECONDS
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answers with the page of the path."""
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            names = "".join(f"{path}\n" for path in self.server.pages)
            self._answer(404, "text/plain", f"there is:\n{names}".encode())
            return
        try:
            self._answer(*page())
        except Exception as error:
            logger.exception("cannot make %s", self.path)
            self._answer(500, "text/plain", f"{type(error).__name__}: {error}\n".encode())

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        """What the Server header says."""
        return "podwright"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  the signature of http.server
        logger.debug("%s %s", self.address_string(), format % args)
