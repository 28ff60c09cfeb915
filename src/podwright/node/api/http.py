"""HTTP/1.1 on asyncio streams, by h11: as much of it as the kubelet's API needs.

Owns connections and framing. Knows no paths; a handler is given a request and answers it, or takes the connection.
"""

import asyncio
import contextlib
import json
import logging
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import h11

logger = logging.getLogger(__name__)

_PORTION: Final = 1 << 16
_LARGEST_BODY: Final = 1 << 20
_IDLE: Final = 90.0  # seconds between two requests


class HttpError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str) -> None:
        """`message` is the body."""
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Exchange:
    """One request, and the way to its answer."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    """The headers, as they were sent."""
    certificate: Mapping[str, Any]
    """The client's, as ssl.SSLSocket.getpeercert gives it; empty if it has none."""
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    connection: h11.Connection
    user: str = ""
    taken: bool = False
    """A handler speaks another protocol on the connection."""
    path: str = field(init=False)
    query: Mapping[str, list[str]] = field(init=False)
    headers: Mapping[str, str] = field(init=False)
    """Names in lower case."""

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.target)
        self.path = urllib.parse.unquote(parts.path)
        self.headers = {name.lower(): value for name, value in self.fields}
        self.query = urllib.parse.parse_qs(parts.query, keep_blank_values=True)

    def first(self, name: str, default: str = "") -> str:
        """A parameter of the query."""
        return self.query.get(name, [default])[0]

    def flag(self, *names: str) -> bool:
        """Whether a parameter of any of these names is true."""
        return any(self.first(name).lower() in {"1", "true"} for name in names)

    async def answer(self, body: bytes | str, kind: str = "text/plain; charset=utf-8", status: int = 200) -> None:
        """The whole answer."""
        data = body.encode() if isinstance(body, str) else body
        await self.begin(kind, status, [("Content-Length", str(len(data)))])
        await self.send(data)
        await self.end()

    async def answer_json(self, value: Any, status: int = 200) -> None:  # noqa: ANN401  whatever JSON can say
        """The whole answer, an object."""
        await self.answer(json.dumps(value, default=str), "application/json", status)

    async def begin(self, kind: str, status: int = 200, headers: list[tuple[str, str]] | None = None) -> None:
        """The head of an answer whose length is not known, or given by `headers`."""
        given = [("Content-Type", kind), *(headers or [])]
        self._write(h11.Response(status_code=status, headers=given))
        await self.writer.drain()

    async def send(self, data: bytes) -> None:
        """A portion of the body."""
        if data:
            self._write(h11.Data(data=data))
            await self.writer.drain()

    async def end(self) -> None:
        """The end of the body."""
        self._write(h11.EndOfMessage())
        await self.writer.drain()

    def take(self) -> bytes:
        """Takes the connection over; returns what was read beyond the request."""
        self.taken = True
        return self.connection.trailing_data[0]

    def _write(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        self.writer.write(self.connection.send(event) or b"")


Handler = Callable[[Exchange], Awaitable[None]]


async def serve(handler: Handler, address: str, port: int, context: ssl.SSLContext | None) -> asyncio.Server:
    """Listens. Raises OSError."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _converse(handler, reader, writer)
        except (OSError, h11.ProtocolError, asyncio.IncompleteReadError, TimeoutError) as error:
            logger.debug("connection of %s: %s", writer.get_extra_info("peername"), error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return await asyncio.start_server(connected, address or None, port, ssl=context)


async def _converse(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = h11.Connection(h11.SERVER)
    certificate = writer.get_extra_info("peercert") or {}
    while True:
        try:
            async with asyncio.timeout(_IDLE):
                request, body = await _request(connection, reader, writer)
        except h11.RemoteProtocolError as error:
            if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                response = h11.Response(status_code=400, headers=[("Content-Length", "0"), ("Connection", "close")])
                writer.write((connection.send(response) or b"") + (connection.send(h11.EndOfMessage()) or b""))
                await writer.drain()
            logger.debug("not HTTP: %s", error)
            return
        if request is None:
            return
        exchange = Exchange(
            method=request.method.decode(),
            target=request.target.decode(errors="replace"),
            fields=[(name.decode(), value.decode(errors="replace")) for name, value in request.headers],
            certificate=certificate,
            body=body,
            reader=reader,
            writer=writer,
            connection=connection,
        )
        await _handled(handler, exchange)
        if exchange.taken or connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
            return
        connection.start_next_cycle()


async def _request(
    connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[h11.Request | None, bytes]:
    request, body = None, b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                writer.write(connection.send(go_on) or b"")
            connection.receive_data(await reader.read(_PORTION))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > _LARGEST_BODY:
                raise h11.RemoteProtocolError("the body is too long", error_status_hint=413)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed) or event is h11.PAUSED:
            return request, body


async def _handled(handler: Handler, exchange: Exchange) -> None:
    try:
        await handler(exchange)
    except HttpError as error:
        await exchange.answer(str(error), status=error.status)
    except (OSError, h11.ProtocolError):
        raise
    except Exception:
        logger.exception("%s %s: this is a defect", exchange.method, exchange.path)
        if exchange.connection.our_state is h11.SEND_RESPONSE:
            await exchange.answer("internal error", status=500)
