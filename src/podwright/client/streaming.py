"""Exec, attach and port-forward with any CRI runtime: the streams behind the URLs that those RPCs give.

    async with AsyncClient() as cri:
        async with await open_exec(cri, container_id, ["cat"], stdin=True) as command:
            await command.send(b"hello")
            command.finish()
            print(await command.stdout.read(), await command.outcome())

WebSocket with version 5 of the remote command protocol is tried first; a runtime that refuses it is asked again for
SPDY, with a URL of its own, for each is good once.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from podwright.client.aio import AsyncClient
from podwright.client.upgrade import Refused, Upgraded, to_spdy, to_websocket
from podwright.errors import Unavailable
from podwright.multiplex.connection import Connection, Disconnected, Stream
from podwright.multiplex.websocket import Channels, Tunnel
from podwright.wire import port_forward, remote_command, spdy
from podwright.wire.remote_command import Channel, Outcome, Size

Ask = Callable[[], Awaitable[str]]
"""Makes the RPC and gives the URL in its answer."""

WORDS_SECONDS = 0.2
"""How long the reason may come after the end of a forwarded connection on which nothing has come."""

_SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_WEBSOCKET_PROTOCOLS = ("v5.channel.k8s.io",)


class Output:
    """What a command writes to one of its streams."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream

    async def read(self) -> bytes:
        """The next bytes; b"" at the end, also if the connection was lost, which `outcome` tells."""
        if self._stream is None:
            return b""
        try:
            return await self._stream.read()
        except Disconnected:
            return b""

    async def read_all(self) -> bytes:
        """Everything to the end."""
        pieces = []
        while data := await self.read():
            pieces.append(data)
        return b"".join(pieces)


class Command:
    """A running exec or attach. Use it with `async with`: leaving detaches, and ends a command of exec."""

    def __init__(
        self, connection: Connection, protocol: remote_command.Protocol, channels: dict[Channel, Stream]
    ) -> None:
        self.protocol = protocol
        """What was agreed on."""
        self.stdout = Output(channels.get(Channel.STDOUT))
        self.stderr = Output(channels.get(Channel.STDERR))
        self._connection = connection
        self._channels = channels
        self._error = asyncio.ensure_future(Output(channels[Channel.ERROR]).read_all())

    async def send(self, data: bytes) -> None:
        """Writes to the command's stdin. Raises BrokenPipeError if it takes no more."""
        try:
            await self._channels[Channel.STDIN].write(data)
        except Disconnected as error:
            raise BrokenPipeError(str(error)) from None

    def finish(self) -> None:
        """Ends the command's stdin."""
        self._channels[Channel.STDIN].finish()

    async def resize(self, *, width: int, height: int) -> None:
        """Tells the size of the terminal, if the command has one."""
        if Channel.RESIZE in self._channels:
            with contextlib.suppress(Disconnected):
                await self._channels[Channel.RESIZE].write(Size(width, height).to_bytes())

    async def outcome(self) -> Outcome:
        """How the command ended, once it has; read its output first, or at the same time. Raises Unavailable if the
        connection was lost before.
        """
        data = await asyncio.shield(self._error)
        if not data and self.protocol.has_status:
            raise Unavailable("the connection to the streaming server was lost before the end of the command")
        return remote_command.outcome_from_bytes(data, self.protocol)

    async def close(self) -> None:
        """Ends the connection."""
        self._error.cancel()
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self.close()


async def open_exec(
    cri: AsyncClient,
    container_id: str,
    command: Iterable[str],
    *,
    tty: bool = False,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
) -> Command:
    """Runs a command in a container. With a terminal there is no stderr. Raises Unavailable and what the RPC raises."""
    words = list(command)

    async def ask() -> str:
        answer = await cri.exec(container_id, words, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr and not tty)
        return answer.url

    return await open_command(ask, _wanted(stdin=stdin, stdout=stdout, stderr=stderr and not tty), tty=tty)


async def open_attach(
    cri: AsyncClient,
    container_id: str,
    *,
    tty: bool = False,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
) -> Command:
    """Attaches to a container's own process. As open_exec."""

    async def ask() -> str:
        answer = await cri.attach(container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr and not tty)
        return answer.url

    return await open_command(ask, _wanted(stdin=stdin, stdout=stdout, stderr=stderr and not tty), tty=tty)


def _wanted(*, stdin: bool, stdout: bool, stderr: bool) -> list[Channel]:
    given = {Channel.STDIN: stdin, Channel.STDOUT: stdout, Channel.STDERR: stderr}
    return [channel for channel, wanted in given.items() if wanted]


async def open_command(ask: Ask, wanted: Sequence[Channel], *, tty: bool) -> Command:
    """Connects to the URL of Exec or Attach; `wanted` are the streams that were asked for."""
    try:
        return over_websocket(await to_websocket(await ask(), _WEBSOCKET_PROTOCOLS), wanted, tty=tty)
    except Refused:
        return await over_spdy(await to_spdy(await ask(), _SPDY_PROTOCOLS), wanted, tty=tty)


def over_websocket(upgraded: Upgraded, wanted: Sequence[Channel], *, tty: bool) -> Command:
    """An exec or attach on a connection that was upgraded to WebSocket."""
    protocol = remote_command.WEBSOCKET[upgraded.protocol]
    channels = {*wanted, Channel.ERROR, *([Channel.RESIZE] if tty else [])}
    readable = channels - {Channel.STDIN, Channel.RESIZE}
    engine = Channels(client=True, readable=readable, base64=protocol.base64, can_close=protocol.can_close)
    connection = Connection(engine, fixed=channels)
    streams = {channel: connection.streams[channel] for channel in channels}
    connection.start(upgraded.transport, upgraded.data)
    return Command(connection, protocol, streams)


async def over_spdy(upgraded: Upgraded, wanted: Sequence[Channel], *, tty: bool) -> Command:
    """An exec or attach on a connection that was upgraded to SPDY. Raises Unavailable."""
    protocol = remote_command.SPDY[upgraded.protocol]
    session = spdy.Session(client=True)
    connection = Connection(session)
    connection.start(upgraded.transport, upgraded.data)
    streams: dict[Channel, Stream] = {}
    try:
        # The error stream first, as kubectl does.
        for channel in sorted(
            remote_command.spdy_channels(wanted, protocol, tty=tty), key=lambda c: c != Channel.ERROR
        ):
            headers = {remote_command.STREAM_TYPE: channel.name.lower()}
            streams[channel] = connection.add(session.open(headers), headers)
        for stream in streams.values():
            await stream.until_accepted()
    except Disconnected as error:
        await connection.close()
        raise Unavailable(f"the streaming server has closed the connection: {error}") from None
    return Command(connection, protocol, streams)


class PortForward:
    """A connection that carries connections to ports of a sandbox. Use it with `async with`."""

    def __init__(self, connection: Connection, session: spdy.Session) -> None:
        self._connection = connection
        self._session = session
        self._requests = 0

    async def connect(self, port: int) -> "ForwardedConnection":
        """Opens a connection to the port. Whether anybody listens there shows when it is used. Raises Unavailable."""
        headers = {port_forward.PORT: str(port), port_forward.REQUEST_ID: str(self._requests)}
        self._requests += 1
        error, data = (
            self._connection.add(self._session.open(named), named)
            for named in (headers | {port_forward.STREAM_TYPE: kind} for kind in ("error", "data"))
        )
        error.finish()
        try:
            for stream in (error, data):
                await stream.until_accepted()
        except Disconnected as failure:
            raise Unavailable(f"the streaming server does not forward port {port}: {failure}") from None
        return ForwardedConnection(data, error)

    async def lost(self) -> str:
        """Waits for the end of the connection, and says why."""
        return await asyncio.shield(self._connection.lost)

    async def close(self) -> None:
        """Ends the connection with all that it carries."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self.close()


class ForwardedConnection:
    """A connection to a port."""

    def __init__(self, data: Stream, error: Stream) -> None:
        self._data = data
        self._error = error
        self._received = False

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises Unavailable with the runtime's words if the port cannot be reached."""
        failure = ""
        try:
            data = await self._data.read()
        except Disconnected as error:
            data, failure = b"", f"the connection was lost: {error}"
        if not data:
            failure = await self._words() or failure
        self._received = self._received or bool(data)
        if failure:
            raise Unavailable(failure)
        return data

    async def _words(self) -> str:
        """What the runtime has to say. Some end the data before they say why there is none."""
        if not self._received:
            with contextlib.suppress(TimeoutError, Disconnected):
                async with asyncio.timeout(WORDS_SECONDS):
                    return (await self._error.read()).decode(errors="replace")
        return self._error.read_now().decode(errors="replace")

    async def send(self, data: bytes) -> None:
        """Raises BrokenPipeError if the other side takes no more."""
        try:
            await self._data.write(data)
        except Disconnected as error:
            raise BrokenPipeError(str(error)) from None

    def finish(self) -> None:
        """Sends no more."""
        self._data.finish()

    def close(self) -> None:
        """Ends both directions."""
        self._data.reset()
        self._error.reset()


async def open_port_forward(cri: AsyncClient, pod_sandbox_id: str) -> PortForward:
    """Prepares connections to ports of a sandbox. Raises Unavailable and what the RPC raises."""

    async def ask() -> str:
        return (await cri.port_forward(pod_sandbox_id, [])).url

    return await open_forward(ask)


async def open_forward(ask: Ask) -> PortForward:
    """Connects to the URL of PortForward: SPDY within WebSocket, or else as it is."""
    session = spdy.Session(client=True)
    try:
        upgraded = await to_websocket(await ask(), (port_forward.TUNNEL_PROTOCOL,))
        connection = Connection(Tunnel(session, client=True))
    except Refused:
        upgraded = await to_spdy(await ask(), (port_forward.SPDY_PROTOCOL,))
        connection = Connection(session)
    connection.start(upgraded.transport, upgraded.data)
    return PortForward(connection, session)
