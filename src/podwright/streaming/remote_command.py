"""Exec and attach: the channels of a client, connected to the streams of a command or of a container."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from podwright.core import container_attach, container_exec_stream
from podwright.core.container_attach import AttachSession
from podwright.core.container_exec_stream import ExecSession
from podwright.core.runtime import Runtime
from podwright.core.stream_requests import AttachRequest, ExecRequest
from podwright.errors import PodwrightError
from podwright.kernel.nonblocking import Fd
from podwright.multiplex.connection import Connection, Disconnected, Stream, unless
from podwright.multiplex.websocket import Channels
from podwright.streaming.upgrade import Timeouts, Upgrade
from podwright.wire import remote_command, spdy
from podwright.wire.remote_command import Channel, Outcome, Size, Sizes

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_SIZE_SECONDS = 0.03
"""How long a command waits for its terminal's size: it comes at once from clients that send one at all."""


class RemoteCommand:
    """A client's end of an exec or an attach.

    Who attaches is told that it is connected, by the answer to the upgrade or by that to the last SPDY stream, when it
    really is: from then on it misses nothing.
    """

    def __init__(
        self, runtime: Runtime, request: ExecRequest | AttachRequest, upgrade: Upgrade, timeouts: Timeouts
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._creation_seconds = timeouts.creation
        self._complete = asyncio.Event()
        self._last: Stream | None = None
        self._attaching: asyncio.Future[AttachSession] | None = None
        self.channels: dict[Channel, Stream] = {}
        wanted = request.wanted
        given = {Channel.STDIN: wanted.stdin, Channel.STDOUT: wanted.stdout, Channel.STDERR: wanted.stderr}
        asked = [channel for channel, is_wanted in given.items() if is_wanted]
        if upgrade.websocket:
            self._protocol = remote_command.WEBSOCKET[upgrade.protocol]
            self._expected = {*asked, Channel.ERROR, *([Channel.RESIZE] if wanted.tty else [])}
            engine = Channels(
                client=False,
                readable=self._expected & {Channel.STDIN, Channel.RESIZE},
                base64=self._protocol.base64,
                can_close=self._protocol.can_close,
            )
            self.connection = Connection(engine, fixed=self._expected, idle_seconds=timeouts.idle)
            for channel in self._expected:
                self._add(channel, self.connection.streams[channel])
        else:
            self._protocol = remote_command.SPDY[upgrade.protocol]
            self._expected = remote_command.spdy_channels(asked, self._protocol, tty=wanted.tty)
            self.connection = Connection(spdy.Session(client=False), opened=self._opened, idle_seconds=timeouts.idle)

    def _opened(self, stream: Stream) -> None:
        channel = remote_command.channel_of(stream.headers)
        if channel is None or channel not in self._expected or channel in self.channels:
            stream.reset()
            return
        self._add(channel, stream)
        if self._complete.is_set():
            self._last = stream  # serve accepts it
        else:
            self.connection.accept(stream)

    def _add(self, channel: Channel, stream: Stream) -> None:
        self.channels[channel] = stream
        if len(self.channels) == len(self._expected):
            self._complete.set()

    async def prepare(self) -> None:
        """Does what comes before the answer to the upgrade; `serve` must follow."""
        if isinstance(self._request, AttachRequest) and self._complete.is_set():
            await asyncio.wait({self._attach()})

    async def serve(self) -> None:
        """Runs the command, or attaches, and tells the client how it ended. Raises Disconnected if the client leaves,
        TimeoutError if it does not open its streams.
        """
        try:
            async with asyncio.timeout(self._creation_seconds):
                await unless(self.connection.lost, self._complete.wait())
            outcome = await self._outcome()
        finally:
            if self._attaching is not None:
                self._attaching.add_done_callback(_detach)
        await self.channels[Channel.ERROR].write(remote_command.outcome_to_bytes(outcome, self._protocol))
        for stream in self.channels.values():
            stream.finish()

    async def _outcome(self) -> Outcome:
        if isinstance(self._request, AttachRequest):
            await asyncio.wait({self._attach()})
        if self._last is not None:
            self.connection.accept(self._last)
        try:
            if isinstance(self._request, ExecRequest):
                doing = "error executing command in container"
                return await _exec(self._runtime, self._request, self)
            doing = "error attaching to container"
            return await _converse(await self._attach(), self)
        except Disconnected:
            raise
        except (PodwrightError, OSError) as error:
            logger.info("%s %s: %s", doing, self._request.container.title, error)
            return Outcome(None, f"{doing}: {error}")

    def _attach(self) -> "asyncio.Future[AttachSession]":
        if self._attaching is None:
            work = container_attach.attach(self._runtime, self._request.container, self._request.wanted)
            self._attaching = asyncio.ensure_future(work)
        return self._attaching


def _detach(attaching: "asyncio.Future[AttachSession]") -> None:
    if not attaching.cancelled() and attaching.exception() is None:
        attaching.result().close()


class _Resizes:
    """Follows the size of the client's terminal."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._known = asyncio.Event()
        self.latest: Size | None = None
        self.apply: Callable[[Size], None] | None = None

    async def follow(self) -> None:
        """Reads sizes to the end of the stream."""
        sizes = Sizes()
        try:
            while data := await self._stream.read():
                for size in sizes.receive(data):
                    self.latest = size
                    self._known.set()
                    if self.apply:
                        self.apply(size)
        except ValueError as error:
            logger.info("the terminal is not resized any more: %s", error)
            self._stream.reset()

    async def first(self) -> Size | None:
        """The first size, if it comes within a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SIZE_SECONDS):
                await self._known.wait()
        return self.latest

    def begin(self, apply: Callable[[Size], None]) -> None:
        """From now on sizes are applied, beginning with the last that is known."""
        self.apply = apply
        if self.latest:
            apply(self.latest)


class _Tasks:
    """Copying that goes on beside the main work; it ends with the `async with`."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(_quietly(work))
        self._tasks.add(task)
        return task

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                logger.error("copying a stream failed", exc_info=result)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except OSError as error:  # Disconnected, mostly
        logger.debug("a stream ended: %s", error)


async def _exec(runtime: Runtime, request: ExecRequest, client: RemoteCommand) -> Outcome:
    async with _Tasks() as following:
        resizes = _follow_resizes(client, following)
        size = await resizes.first() if resizes else None
        session = await container_exec_stream.start(
            runtime,
            request.container,
            request.command,
            request.wanted,
            {"width": size.width, "height": size.height} if size else None,
        )
        try:
            if resizes:
                resizes.begin(lambda size: session.resize(size.to_winsize()))
            return Outcome(await unless(client.connection.lost, _run(session, client)))
        finally:
            await asyncio.shield(session.end())


async def _run(session: ExecSession, client: RemoteCommand) -> int:
    async with _Tasks() as copying:
        outputs = [
            copying.start(_copy_out(fd, client.channels.get(channel)))
            for fd, channel in ((session.stdout, Channel.STDOUT), (session.stderr, Channel.STDERR))
            if fd is not None
        ]
        stdin = client.channels.get(Channel.STDIN)
        if stdin is not None and session.stdin is not None:
            copying.start(_copy_in(stdin, session.stdin, keep_open=session.stdin is session.stdout))
        code = await session.wait()
        await asyncio.gather(*outputs)
        return code


async def _copy_out(fd: Fd, stream: Stream | None) -> None:
    """Output that nobody wants, of a terminal, is read all the same: the command must not wait for it."""
    try:
        while data := await fd.read():
            if stream is not None:
                await stream.write(data)
    except Disconnected:
        fd.close()  # who writes on gets SIGPIPE
        raise
    if stream is not None:
        stream.finish()


async def _copy_in(stream: Stream, fd: Fd, *, keep_open: bool) -> None:
    try:
        while data := await stream.read():
            await fd.write(data)
    except (BrokenPipeError, ConnectionResetError):
        stream.reset()  # nobody reads: the client need not send any more
    finally:
        if not keep_open:
            fd.close()


async def _converse(session: AttachSession, client: RemoteCommand) -> Outcome:
    async with _Tasks() as tasks:
        resizes = _follow_resizes(client, tasks)
        if resizes:
            resizes.begin(lambda size: session.resize(width=size.width, height=size.height))
        if Channel.STDIN in client.channels:
            tasks.start(_send_input(client.channels[Channel.STDIN], session))
        await unless(client.connection.lost, _receive_output(session, client))
    return Outcome(0)


async def _receive_output(session: AttachSession, client: RemoteCommand) -> None:
    streams = {"stdout": client.channels.get(Channel.STDOUT), "stderr": client.channels.get(Channel.STDERR)}
    while (output := await session.read()) is not None:
        name, data = output
        stream = streams[name]
        if stream is not None:
            await stream.write(data)


async def _send_input(stream: Stream, session: AttachSession) -> None:
    try:
        while data := await stream.read():
            await session.write(data)
    except (BrokenPipeError, ConnectionResetError):
        stream.reset()
    finally:
        session.finish()


def _follow_resizes(client: RemoteCommand, tasks: _Tasks) -> _Resizes | None:
    if Channel.RESIZE not in client.channels:
        return None
    resizes = _Resizes(client.channels[Channel.RESIZE])
    tasks.start(resizes.follow())
    return resizes
