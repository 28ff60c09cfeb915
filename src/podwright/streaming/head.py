"""The head of an HTTP request, and answers that are no upgrade. Each connection carries one request."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import h11

from podwright.multiplex.connection import half_close

HEAD_SECONDS = 10.0
LARGEST_HEAD = 32 << 10
LINGER_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    """Without the query."""
    headers: Sequence[tuple[str, str]]
    """Names in lower case."""

    def values(self, name: str) -> list[str]:
        """The items of a header that is a list, from all its lines."""
        lines = [value for key, value in self.headers if key == name]
        return [item.strip() for line in lines for item in line.split(",") if item.strip()]

    def has(self, name: str) -> bool:
        """Whether the header is there at all."""
        return any(key == name for key, _ in self.headers)


class Refused(Exception):
    """The request gets an answer with this status, and the connection ends."""

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


def refusal(refused: Refused) -> bytes:
    """The whole answer."""
    body = f"{refused}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body)), "Connection": "close"}
    return answer(refused.status, [*headers.items(), *refused.headers.items()]) + body


def answer(status: HTTPStatus, headers: Sequence[tuple[str, str]]) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")


class HeadReader(asyncio.Protocol):
    """Reads the head of one request and gives the connection away, with what was read beyond it; or refuses it."""

    def __init__(self, received: "Callable[[HeadReader, Request, bytes], None]") -> None:
        self._received = received
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        self._done = False
        self._timer: asyncio.TimerHandle
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, transport.abort)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._done:
            return
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            self.refuse(Refused(HTTPStatus(error.error_status_hint), str(error)))
            return
        if event is h11.NEED_DATA:
            return
        assert isinstance(event, h11.Request)
        self._done = True
        self._timer.cancel()
        self.transport.pause_reading()  # until it has another owner
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
        path = event.target.decode("latin-1").partition("?")[0]
        self._received(self, Request(event.method.decode("latin-1"), path, headers), self._http.trailing_data[0])

    def refuse(self, refused: Refused) -> None:
        """Answers, and ends the connection when the client has done so; until then what it sends is dropped."""
        self._done = True
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.abort)
        self.transport.write(refusal(refused))
        if not self.transport.is_reading():
            self.transport.resume_reading()
        half_close(self.transport)
