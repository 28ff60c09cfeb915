"""/exec, /attach and /portForward: the runtime makes a URL, and the client's connection is led there.

The node speaks none of the protocols (SPDY or WebSocket): it sends the client's request on with another path and then
carries bytes both ways, as the kubelet does.
"""

import asyncio
import contextlib
import ssl
import urllib.parse
from typing import Final

from podwright.client import AsyncClient
from podwright.errors import PodwrightError
from podwright.node.api.http import Exchange, HttpError
from podwright.node.observed import Observed, SeenContainer
from podwright.node.worker import Worker
from podwright.pods.check import all_containers

_PORTION: Final = 1 << 16
_NOT_PASSED_ON: Final = {"host", "authorization", "content-length", "transfer-encoding"}
_CONNECT_SECONDS: Final = 10.0


async def execute(exchange: Exchange, cri: AsyncClient, worker: Worker, observed: Observed, container: str) -> None:
    """Leads the client to a command in the container. Raises HttpError."""
    command = exchange.query.get("command", [])
    if not command:
        raise HttpError(400, "a command is needed")
    found = running(worker, observed, container)
    stdin, stdout, stderr, tty = _streams(exchange)
    try:
        answer = await cri.exec(found.id, command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
    except PodwrightError as error:
        raise HttpError(500, str(error)) from None
    await lead(exchange, answer.url)


async def attach(exchange: Exchange, cri: AsyncClient, worker: Worker, observed: Observed, container: str) -> None:
    """Leads the client to what the container's first process reads and writes. Raises HttpError."""
    found = running(worker, observed, container)
    stdin, stdout, stderr, _ = _streams(exchange)
    tty = any(item.tty for _, item in all_containers(worker.pod.pod) if item.name == container)
    try:
        answer = await cri.attach(found.id, stdin=stdin, tty=tty, stdout=stdout, stderr=stderr and not tty)
    except PodwrightError as error:
        raise HttpError(500, str(error)) from None
    await lead(exchange, answer.url)


async def port_forward(exchange: Exchange, cri: AsyncClient, worker: Worker, observed: Observed) -> None:
    """Leads the client to ports of the pod. Raises HttpError."""
    seen = observed.pod(worker.pod.uid)
    if seen.sandbox is None or not seen.ready:
        raise HttpError(404, f'pod "{worker.pod.full_name}" does not run')
    ports = []
    for text in exchange.query.get("port", []):  # WebSocket clients say them here, SPDY clients later
        for part in text.split(","):
            if not part.isdigit() or not 0 < int(part) < 65536:
                raise HttpError(400, f'port: "{part}" is no port')
            ports.append(int(part))
    try:
        answer = await cri.port_forward(seen.sandbox.id, ports)
    except PodwrightError as error:
        raise HttpError(500, str(error)) from None
    await lead(exchange, answer.url)


async def run_now(exchange: Exchange, cri: AsyncClient, worker: Worker, observed: Observed, container: str) -> None:
    """/run: a command without streams, and what it printed. Raises HttpError."""
    command = exchange.first("cmd").split()
    if not command:
        raise HttpError(400, "cmd is needed")
    found = running(worker, observed, container)
    try:
        answer = await cri.exec_sync(found.id, command)
    except PodwrightError as error:
        raise HttpError(500, str(error)) from None
    await exchange.answer(answer.stdout + answer.stderr)


def running(worker: Worker, observed: Observed, container: str) -> SeenContainer:
    """The running container of that name. Raises HttpError."""
    found = observed.pod(worker.pod.uid).current(container)
    if found is None or not found.running:
        raise HttpError(404, f'container not found ("{container}")')
    return found


def _streams(exchange: Exchange) -> tuple[bool, bool, bool, bool]:
    """stdin, stdout, stderr, tty; kubectl says them as stdin=1, older clients as input=1."""
    tty = exchange.flag("tty")
    stdin, stdout = exchange.flag("input", "stdin"), exchange.flag("output", "stdout")
    stderr = exchange.flag("error", "stderr") and not tty
    if not (stdin or stdout or stderr):
        raise HttpError(400, "you must specify at least 1 of stdin, stdout, stderr")
    return stdin, stdout, stderr, tty


async def lead(exchange: Exchange, url: str) -> None:
    """Connects to the URL, sends the request there, and carries bytes until one side ends. Raises HttpError."""
    if "upgrade" not in exchange.headers.get("connection", "").lower():
        raise HttpError(400, "Upgrade request required")
    parts = urllib.parse.urlsplit(url)
    secure = parts.scheme == "https"
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if secure else 80), ssl=_unverified() if secure else None
            )
    except (OSError, TimeoutError) as error:
        raise HttpError(502, f"the runtime's streaming server cannot be reached: {error}") from None
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{exchange.method} {path} HTTP/1.1", f"Host: {parts.netloc}"]
    for name, value in exchange.fields:
        if name.lower() not in _NOT_PASSED_ON:
            lines.append(f"{name}: {value}")
    try:
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + exchange.take())
        await writer.drain()
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(exchange.reader, writer))
            group.create_task(_carry(reader, exchange.writer))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way; the end of them too. drain() waits for a slow reader, so little is ever held here."""
    with contextlib.suppress(OSError):
        while data := await reader.read(_PORTION):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
        else:
            writer.close()  # TLS has no half of an end


def _unverified() -> ssl.SSLContext:
    """The token in the URL is what proves the runtime; its certificate is its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
