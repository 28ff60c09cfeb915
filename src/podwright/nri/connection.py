"""A connection of a plugin: calls either way, over ttrpc, over the multiplexer (wire/ttrpc.py, wire/nri.py).

Knows nothing of what is called. Both ends have the same class, so that tests can have plugins.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from google.protobuf.message import DecodeError, Message

from podwright.errors import Code, PodwrightError
from podwright.nri import v1
from podwright.wire import nri, ttrpc
from podwright.wire.ttrpc import REQUEST, RESPONSE, Frame

logger = logging.getLogger(__name__)

Methods = Mapping[str, tuple[type[Message], type[Message]]]
Answer = Callable[[str, Message], Awaitable[Message]]
"""Takes the method and the request."""

_READ_BYTES = 64 << 10
_CLOSED = "has closed the connection"


class Gone(Exception):
    """The peer has left, does not answer in time, or does not speak the protocol."""


class Refused(Exception):
    """The peer has answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        """Of gRPC."""


class Connection:
    """One connection. `run` has to run for anything to come."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        serves: tuple[int, str, Methods],
        calls: tuple[int, str, Methods],
        answer: Answer,
    ) -> None:
        """`serves` and `calls` are the number of a multiplexed connection, the service on it, and its methods."""
        self._reader, self._writer = reader, writer
        self._served, self._service, self._served_methods = serves
        self._called, self._peer_service, self._called_methods = calls
        self._answer = answer
        self._next = 1
        self._waiting: dict[int, asyncio.Future[bytes | None]] = {}
        """Responses by stream; None where the connection has been closed."""
        self._answering: set[asyncio.Task[None]] = set()
        self.closed = False

    async def run(self) -> None:
        """Reads until the peer leaves or makes no sense, or until `close`."""
        multiplexed, answers, requests = nri.Reader(), ttrpc.Reader(), ttrpc.Reader()
        try:
            while data := await self._reader.read(_READ_BYTES):
                for connection, part in multiplexed.feed(data):
                    if connection == self._called:
                        for frame in answers.feed(part):
                            self._answered(frame)
                    else:
                        for frame in requests.feed(part):
                            self._requested(frame)
        except (OSError, nri.MultiplexError, ttrpc.TtrpcError) as error:
            if not self.closed:
                logger.info("the connection of a plugin breaks: %s", error)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the connection and all calls on it; what the peer has asked for is done all the same."""
        self.closed = True
        self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)

    async def call(self, method: str, request: Message, seconds: float) -> Message:
        """Calls the peer. Raises Refused for an error that it answers with, and Gone."""
        stream, self._next = self._next, self._next + 2
        envelope = v1.TtrpcRequest(
            service=self._peer_service,
            method=method,
            payload=request.SerializeToString(),
            timeout_nano=int(seconds * 1e9),
        )
        if self.closed:
            raise Gone(_CLOSED)
        waiting = self._waiting[stream] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._send(self._called, Frame(stream, REQUEST, envelope.SerializeToString()))
                message = await waiting
            if message is None:
                raise Gone(_CLOSED)
            response = v1.TtrpcResponse.FromString(message)
            if response.status.code:
                raise Refused(response.status.code, response.status.message)
            return self._called_methods[method][1].FromString(response.payload)
        except TimeoutError:
            raise Gone(f"has not answered {method} within {seconds:g} seconds") from None
        except (OSError, DecodeError) as error:
            raise Gone(f"fails at {method}: {error}") from None
        except ttrpc.TtrpcError as error:
            raise Refused(Code.RESOURCE_EXHAUSTED, str(error)) from None
        finally:
            del self._waiting[stream]

    async def _send(self, connection: int, frame: Frame) -> None:
        self._writer.write(nri.encode(connection, ttrpc.encode(frame)))
        await self._writer.drain()

    def _answered(self, frame: Frame) -> None:
        waiting = self._waiting.get(frame.stream)
        if frame.kind == RESPONSE and waiting is not None and not waiting.done():  # it may have come too late
            waiting.set_result(frame.message)

    def _requested(self, frame: Frame) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(frame))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _serve(self, frame: Frame) -> None:
        response = v1.TtrpcResponse()
        try:
            request = v1.TtrpcRequest.FromString(frame.message)
            methods = self._served_methods if request.service == self._service else {}
            if request.method in methods:
                message = methods[request.method][0].FromString(request.payload)
                response.payload = (await self._answer(request.method, message)).SerializeToString()
            else:
                response.status.code = Code.UNIMPLEMENTED
                response.status.message = f"there is no /{request.service}/{request.method}"
        except PodwrightError as error:
            response.status.code, response.status.message = error.code, str(error)
        except DecodeError as error:
            response.status.code, response.status.message = Code.INVALID_ARGUMENT, str(error)
        except Exception as error:
            logger.exception("a plugin's call fails")
            response.status.code, response.status.message = Code.INTERNAL, str(error)
        if self.closed:
            return
        try:
            await self._send(self._served, Frame(frame.stream, RESPONSE, response.SerializeToString()))
        except (OSError, ttrpc.TtrpcError) as error:
            logger.info("a plugin cannot be answered: %s", error)
