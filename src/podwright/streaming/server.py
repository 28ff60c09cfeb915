"""The streaming server: listens, finds what a URL's token stands for, and serves it to the end."""

import asyncio
import logging
import ssl
from dataclasses import dataclass
from http import HTTPStatus

from podwright.core.runtime import Runtime
from podwright.core.stream_requests import PortForwardRequest
from podwright.errors import FailedPrecondition
from podwright.multiplex.connection import Disconnected
from podwright.streaming import tls
from podwright.streaming.head import HeadReader, Refused, Request
from podwright.streaming.port_forward import PortForward, websocket_protocols
from podwright.streaming.remote_command import RemoteCommand
from podwright.streaming.tls import Tls
from podwright.streaming.upgrade import Timeouts, Upgrade, negotiate
from podwright.wire import port_forward as port_forward_wire
from podwright.wire import remote_command as remote_command_wire

logger = logging.getLogger(__name__)

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says."""

    address: str
    port: int
    """0 for any."""
    tls: Tls | None
    timeouts: Timeouts


class StreamingServer:
    """Serves Exec, Attach and PortForward over HTTP."""

    def __init__(self, runtime: Runtime, settings: Settings) -> None:
        self._runtime = runtime
        self._settings = settings
        self._server: asyncio.Server
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens, and lets URLs be given out. Raises FailedPrecondition, InvalidArgument."""
        settings = self._settings
        secured = await tls.context(settings.tls, settings.address) if settings.tls else None
        self._server = await self._listen(secured)
        host, port = self._server.sockets[0].getsockname()[:2]
        if host in ("0.0.0.0", "::"):  # noqa: S104
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
        location = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._runtime.streams.base_url = f"{'https' if secured else 'http'}://{location}"
        logger.info("streams are served at %s", self._runtime.streams.base_url)

    async def _listen(self, secured: ssl.SSLContext | None) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        where = self._settings.address, self._settings.port
        try:
            return await loop.create_server(lambda: HeadReader(self._received), *where, ssl=secured, backlog=512)
        except OSError as error:
            raise FailedPrecondition(
                f"streaming: cannot listen on {where[0]}, port {where[1]}: {error.strerror}"
            ) from None

    async def stop(self) -> None:
        """Ends all sessions: commands are hung up, and clients get a moment to take what is under way to them."""
        self._server.close()
        for _ in range(2):  # the second time their patience ends
            for session in self._sessions:
                session.cancel()
            if self._sessions:
                await asyncio.wait(self._sessions, timeout=STOP_SECONDS)

    def _received(self, reader: HeadReader, request: Request, data: bytes) -> None:
        session = asyncio.get_running_loop().create_task(self._serve(reader, request, data))
        self._sessions.add(session)
        session.add_done_callback(self._ended)

    def _ended(self, session: "asyncio.Task[None]") -> None:
        self._sessions.discard(session)
        if not session.cancelled() and session.exception() is not None:
            logger.error("a streaming session failed", exc_info=session.exception())

    async def _serve(self, reader: HeadReader, request: Request, data: bytes) -> None:
        try:
            client, upgrade = self._admit(request)
        except Refused as refused:
            logger.info("%s %.12s: %d %s", request.method, request.path, refused.status, refused)
            reader.refuse(refused)
            return
        await client.prepare()
        reader.transport.write(upgrade.answer)
        client.connection.start(reader.transport, data)
        try:
            await client.serve()
        except TimeoutError:
            logger.info("%.12s: the client has not opened its streams in time", request.path)
        except Disconnected as error:
            logger.info("%.12s: %s", request.path, error)
        finally:
            await client.connection.close()

    def _admit(self, request: Request) -> tuple[RemoteCommand | PortForward, Upgrade]:
        """Finds what the client has come for, and how it will speak. Raises Refused."""
        wanted = self._runtime.streams.take(request.path)
        timeouts = self._settings.timeouts
        match wanted:
            case None:
                raise Refused(HTTPStatus.NOT_FOUND, "no such URL, or not any more: each is good once, for a minute")
            case PortForwardRequest():
                upgrade = negotiate(request, (port_forward_wire.SPDY_PROTOCOL,), websocket_protocols(wanted))
                return PortForward(self._runtime, wanted, upgrade, timeouts), upgrade
            case _:
                upgrade = negotiate(request, remote_command_wire.SPDY, remote_command_wire.WEBSOCKET)
                return RemoteCommand(self._runtime, wanted, upgrade, timeouts), upgrade
