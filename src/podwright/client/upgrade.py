"""The HTTP side of a streaming URL, as its client: asks for an upgrade, and reads the answer's head."""

import asyncio
import base64
import hashlib
import secrets
import ssl
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from podwright.errors import DeadlineExceeded, InvalidArgument, Unavailable

ANSWER_SECONDS = 30.0
_LARGEST_WORDS = 4096
_ACCEPT_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class Refused(Unavailable):
    """The server does not upgrade the connection; it may know another protocol."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A connection that speaks the agreed protocol from here on."""

    transport: asyncio.Transport
    protocol: str
    data: bytes
    """What has been read beyond the head."""


async def to_websocket(url: str, protocols: Sequence[str]) -> Upgraded:
    """Raises Refused, Unavailable if nobody answers, InvalidArgument for a URL that is none."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    headers = [
        *(("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)),
        ("Sec-WebSocket-Protocol", ", ".join(protocols)),
    ]
    upgraded, answer = await _upgrade(url, "GET", headers, "sec-websocket-protocol")
    accept = base64.b64encode(hashlib.sha1(f"{key}{_ACCEPT_GUID}".encode()).digest()).decode()  # noqa: S324
    if answer.get("sec-websocket-accept") != accept or upgraded.protocol not in protocols:
        upgraded.transport.abort()
        raise Refused(f"the streaming server agreed to {upgraded.protocol!r}, which it was not asked for")
    return upgraded


async def to_spdy(url: str, protocols: Sequence[str]) -> Upgraded:
    """Raises as to_websocket does."""
    headers = [("Upgrade", "SPDY/3.1"), *(("X-Stream-Protocol-Version", protocol) for protocol in protocols)]
    upgraded, _ = await _upgrade(url, "POST", headers, "x-stream-protocol-version")
    if upgraded.protocol not in protocols:
        upgraded.transport.abort()
        raise Refused(f"the streaming server agreed to {upgraded.protocol!r}, which it was not asked for")
    return upgraded


async def _upgrade(
    url: str, method: str, headers: Sequence[tuple[str, str]], protocol_header: str
) -> tuple[Upgraded, dict[str, str]]:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(f"the runtime gave a URL that nothing can be connected to: {url!r}")
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    http = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method=method,
        target=target,
        headers=[("Host", parts.netloc), ("Connection", "Upgrade"), *headers, ("Content-Length", "0")],
    )
    asked = (http.send(request) or b"") + (http.send(h11.EndOfMessage()) or b"")
    reader = _AnswerReader(http)
    transport = await _connect(parts.hostname, parts.port, reader, secured=parts.scheme == "https")
    try:
        transport.write(asked)
        async with asyncio.timeout(ANSWER_SECONDS):
            answer, words = await reader.answer
    except TimeoutError:
        transport.abort()
        raise DeadlineExceeded(f"the streaming server did not answer within {ANSWER_SECONDS:.0f} seconds") from None
    except BaseException:
        transport.abort()
        raise
    if answer.status_code != 101:
        transport.abort()
        said = words.decode(errors="replace").strip()
        raise Refused(f"the streaming server answered with {answer.status_code}: {said}")
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    return Upgraded(transport, found.get(protocol_header, ""), http.trailing_data[0]), found


async def _connect(host: str, port: int | None, reader: "_AnswerReader", *, secured: bool) -> asyncio.Transport:
    context = None
    if secured:
        # Runtimes make certificates for themselves that nobody could verify; the token in the URL is the secret.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_connection(lambda: reader, host, port or (443 if secured else 80), ssl=context)
    except OSError as error:
        raise Unavailable(f"no connection to the streaming server at {host}, port {port}: {error}") from None
    return transport


class _AnswerReader(asyncio.Protocol):
    def __init__(self, http: h11.Connection) -> None:
        self._http = http
        self._refusal: h11.Response | None = None
        self._words = b""
        self.answer: asyncio.Future[tuple[h11.Response | h11.InformationalResponse, bytes]] = (
            asyncio.get_running_loop().create_future()
        )

    def data_received(self, data: bytes) -> None:
        if self.answer.done():
            return
        try:
            self._http.receive_data(data)
            while not self.answer.done():
                event = self._http.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    return
                self._read(event)
        except h11.RemoteProtocolError as error:
            self.answer.set_exception(Unavailable(f"the streaming server does not speak HTTP: {error}"))

    def _read(self, event: h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]) -> None:
        match event:
            case h11.InformationalResponse(status_code=101):
                self.answer.set_result((event, b""))
            case h11.Response():
                self._refusal = event
            case h11.Data():
                self._words += bytes(event.data)
        if self._refusal and (isinstance(event, h11.EndOfMessage) or len(self._words) > _LARGEST_WORDS):
            self.answer.set_result((self._refusal, self._words[:_LARGEST_WORDS]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._refusal and not self.answer.done():
            self.answer.set_result((self._refusal, self._words))
        elif not self.answer.done():
            self.answer.set_exception(
                Unavailable(f"the streaming server has closed the connection{f': {exc}' if exc else ''}")
            )
