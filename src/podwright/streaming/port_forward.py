"""Port-forward: a client's streams, connected to ports within a sandbox. Each connection stands by itself: one that
fails says so on its error stream and leaves the others alone.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Collection

from podwright.core import sandbox_port_forward
from podwright.core.runtime import Runtime
from podwright.core.stream_requests import PortForwardRequest
from podwright.errors import PodwrightError
from podwright.kernel.nonblocking import Fd
from podwright.multiplex.connection import Connection, Disconnected, Stream, unless
from podwright.multiplex.websocket import Channels, Tunnel
from podwright.streaming.upgrade import Timeouts, Upgrade
from podwright.wire import port_forward, spdy
from podwright.wire.port_forward import BadStream, Pairs

logger = logging.getLogger(__name__)


def websocket_protocols(request: PortForwardRequest) -> Collection[str]:
    """What a WebSocket can carry: without ports in the request only a SPDY session, which names them itself."""
    return (port_forward.TUNNEL_PROTOCOL, *(port_forward.WEBSOCKET_BASE64 if request.ports else ()))


class PortForward:
    """A client's end of a port-forward, over any of the three ways to carry it."""

    def __init__(self, runtime: Runtime, request: PortForwardRequest, upgrade: Upgrade, timeouts: Timeouts) -> None:
        self._runtime = runtime
        self._sandbox = request.sandbox
        self._creation_seconds = timeouts.creation
        self._pairs = Pairs()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ports: tuple[int, ...] = ()
        if upgrade.websocket and upgrade.protocol != port_forward.TUNNEL_PROTOCOL:
            self._ports = request.ports
            numbers = range(2 * len(self._ports))
            text = port_forward.WEBSOCKET_BASE64[upgrade.protocol]
            channels = Channels(client=False, readable=numbers[::2], base64=text)
            self.connection = Connection(channels, fixed=numbers, idle_seconds=timeouts.idle)
        else:
            session = spdy.Session(client=False)
            engine = Tunnel(session, client=False) if upgrade.websocket else session
            self.connection = Connection(engine, opened=self._opened, idle_seconds=timeouts.idle)

    async def prepare(self) -> None:
        """There is nothing to do before the answer to the upgrade."""

    async def serve(self) -> None:
        """Forwards until the client leaves; over plain WebSocket also until all of its connections have ended."""
        try:
            if self._ports:
                streams = self.connection.streams
                for index, port in enumerate(self._ports):
                    self._start(port, streams[2 * index], streams[2 * index + 1], greet=True)
                await unless(self.connection.lost, asyncio.wait(self._tasks))
            else:
                await self.connection.lost
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _opened(self, stream: Stream) -> None:
        try:
            pair = self._pairs.add(stream.number, stream.headers)
        except BadStream as error:
            logger.info("a stream to forward a port is refused: %s", error)
            stream.reset()
            return
        self.connection.accept(stream)
        if pair is None:
            asyncio.get_running_loop().call_later(self._creation_seconds, self._drop_if_alone, stream)
            return
        streams = self.connection.streams
        if pair.data in streams and pair.error in streams:
            self._start(pair.port, streams[pair.data], streams[pair.error])
        else:  # the other one has been reset meanwhile
            stream.reset()

    def _drop_if_alone(self, stream: Stream) -> None:
        if self._pairs.drop(stream.number):
            logger.info("a stream to forward a port is refused: its other stream has not come")
            stream.reset()

    def _start(self, port: int, data: Stream, error: Stream, *, greet: bool = False) -> None:
        task = asyncio.create_task(self._forward(port, data, error, greet=greet))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("forwarding a port failed", exc_info=task.exception())

    async def _forward(self, port: int, data: Stream, error: Stream, *, greet: bool) -> None:
        try:
            if greet:
                for stream in (data, error):
                    await stream.write(port_forward.port_to_bytes(port))
            await unless(data.broken, self._connect(port, data, error))
            for stream in (data, error):
                stream.finish()
        except OSError as gone:  # Disconnected, mostly
            logger.debug("port %d of sandbox %s: %s", port, self._sandbox.title, gone)
            for stream in (data, error):
                stream.reset()

    async def _connect(self, port: int, data: Stream, error: Stream) -> None:
        try:
            connection = await sandbox_port_forward.connect(self._runtime, self._sandbox, port)
        except PodwrightError as failure:
            logger.info("port %d of sandbox %s: %s", port, self._sandbox.title, failure)
            await error.write(f"error forwarding port {port} to pod {self._sandbox.id}: {failure}".encode())
        else:
            with connection:
                await _copy_both_ways(connection, data)


async def _copy_both_ways(connection: socket.socket, stream: Stream) -> None:
    """Ends when both directions have ended. Raises Disconnected when one of them ends in disorder."""
    fd = Fd(os.dup(connection.fileno()))
    try:
        async with asyncio.TaskGroup() as copying:
            copying.create_task(_copy_in(stream, fd, connection))
            copying.create_task(_copy_out(fd, stream))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        fd.close()


async def _copy_in(stream: Stream, fd: Fd, connection: socket.socket) -> None:
    try:
        while data := await stream.read():
            await fd.write(data)
        with contextlib.suppress(OSError):  # ENOTCONN: the other side has gone
            connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        raise Disconnected("the program behind the port takes no more") from None


async def _copy_out(fd: Fd, stream: Stream) -> None:
    try:
        while data := await fd.read():
            await stream.write(data)
    except ConnectionResetError:
        raise Disconnected("the program behind the port has reset the connection") from None
    stream.finish()
