"""The plugins that there are: how they come, by a socket or started from a directory, register, and leave.

What they are told of the life of pods is service.py's business. They are called one after the other, and one operation
at a time, as with containerd and CRI-O: plugins count on it.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

from podwright import __version__
from podwright.errors import FailedPrecondition, Internal, PodwrightError
from podwright.nri import launch, v1
from podwright.nri.connection import Gone, Refused
from podwright.nri.gate import Gate
from podwright.nri.guest import CarryOut, Guest
from podwright.nri.launch import Installed
from podwright.nri.plugin import Plugin

logger = logging.getLogger(__name__)

NRI_VERSION = "0.12.0"
"""The version of the protocol that v1.proto is of."""

_PORTION = 3 << 20
"""Bytes of pods and containers that are told at a time; a message of ttrpc may have 4 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is configured."""

    enabled: bool
    socket: str
    """Where plugins connect; empty for nowhere."""
    plugin_dir: str
    config_dir: str
    registration_seconds: float
    request_seconds: float


Snapshot = Callable[[], Awaitable[tuple[Sequence[v1.PodSandbox], Sequence[v1.Container]]]]


class Plugins:
    """Those that have registered, in the order of their indices."""

    def __init__(self, settings: Settings, snapshot: Snapshot, carry_out: CarryOut) -> None:
        self._settings = settings
        self._snapshot = snapshot
        self._carry_out = carry_out
        self._plugins: list[Plugin] = []
        self._arriving = 0
        self._turn = asyncio.Lock()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.gate = Gate()

    @property
    def some(self) -> bool:
        """Whether there is anybody to tell, or will be in a moment."""
        return bool(self._plugins or self._arriving)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[list[Plugin]]:
        """The plugins, for as long as nobody else calls them."""
        async with self._turn:
            yield [plugin for plugin in self._plugins if not plugin.gone]

    # come and go

    async def start(self) -> None:
        """Starts the plugins that are installed, waits until they have registered, and takes others by the socket."""
        if not self._settings.enabled:
            return
        installed = await asyncio.to_thread(launch.find, self._settings.plugin_dir, self._settings.config_dir)
        await asyncio.gather(*(self._launch(plugin) for plugin in installed))
        if self._settings.socket:
            await self._listen(self._settings.socket)

    async def close(self) -> None:
        """Takes leave: those that were started here end."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                os.unlink(self._settings.socket)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, path: str) -> None:
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            if _is_served(path):
                logger.error("another runtime serves NRI on %s: plugins of this one can only be installed ones", path)
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self._server = await asyncio.start_unix_server(self._connected, path)
            os.chmod(path, 0o600)
        except OSError as error:
            raise FailedPrecondition(f'nri.socket: cannot listen on "{path}": {error}') from None
        logger.info("NRI plugins may connect to %s", path)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._begin(self._attend(Guest(reader, writer, self._carry_out)))

    async def _launch(self, installed: Installed) -> None:
        """Starts a plugin and waits until it takes part, or fails."""
        ours, theirs = socket.socketpair()
        self._begin(_run(installed, theirs))
        guest = Guest(*await asyncio.open_unix_connection(sock=ours), self._carry_out, installed)
        self._begin(self._attend(guest))
        await guest.settled.wait()

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, guest: Guest) -> None:
        """A guest's stay, from its first word to its last."""
        reading = asyncio.ensure_future(guest.connection.run())
        reading.add_done_callback(lambda _: guest.leaves())
        plugin = None
        try:
            plugin = await self._admit(guest)
            guest.settled.set()
            await reading
        except (Gone, Refused, PodwrightError) as error:
            logger.error("an NRI plugin, %s, is turned away: %s", guest.title, error)  # noqa: TRY400  it says it all
        finally:
            guest.connection.close()
            reading.cancel()
            self._plugins = [other for other in self._plugins if other is not plugin]
            guest.settled.set()
        if plugin is not None:
            logger.info("NRI plugin %s has left", plugin.title)

    async def _admit(self, guest: Guest) -> Plugin:
        """Makes a plugin of a guest. Raises Gone, Refused, and what is wrong with it."""
        settings = self._settings
        index, name = await guest.identity(settings.registration_seconds)
        plugin = Plugin(index, name, guest.connection, settings.request_seconds)
        await plugin.configure(
            v1.ConfigureRequest(
                config=guest.config,
                runtime_name="podwright",
                runtime_version=__version__,
                registration_timeout=int(settings.registration_seconds * 1000),
                request_timeout=int(settings.request_seconds * 1000),
                NRI_version=NRI_VERSION,
            )
        )
        self._arriving += 1
        try:
            updates = await self._synchronize(plugin)
        finally:
            self._arriving -= 1
        logger.info("NRI plugin %s takes part", plugin.title)
        await self._carry_out(f"NRI plugin {plugin.title}", updates, ())
        return plugin

    async def _synchronize(self, plugin: Plugin) -> list[v1.ContainerUpdate]:
        """Tells the plugin what there is, and lets it take part from that moment on."""
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._settings.registration_seconds):
                    await held.enter_async_context(self.gate.arrival())
                    await held.enter_async_context(self._turn)
            except TimeoutError:
                raise Internal("the creation of a container takes too long: try again") from None
            for request in _portions(*await self._snapshot()):
                response = await plugin.synchronize(request, self._settings.registration_seconds)
                if request.more and (response.update or not response.more):
                    raise Internal("it cannot take the state of this node in portions")
            self._plugins = sorted([*self._plugins, plugin], key=lambda other: other.index)
            return list(response.update)


async def _run(installed: Installed, theirs: socket.socket) -> None:
    try:
        await launch.serve(installed, theirs)
    except PodwrightError as error:
        logger.error("NRI plugin %s: %s", installed.path, error)  # noqa: TRY400  the words say it all


def _is_served(path: str) -> bool:
    """Whether somebody listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
        try:
            client.connect(path)
        except BlockingIOError:
            return True  # so many wait for it already
        except OSError:
            return False
        return True


def _portions(pods: Sequence[v1.PodSandbox], containers: Sequence[v1.Container]) -> list[v1.SynchronizeRequest]:
    """All of it in as many messages as are needed, one at least."""
    requests = [v1.SynchronizeRequest()]
    size = 0
    for item in (*pods, *containers):
        size += item.ByteSize() + 8
        if size > _PORTION and requests[-1].ByteSize():
            requests[-1].more = True
            requests.append(v1.SynchronizeRequest())
            size = item.ByteSize() + 8
        (requests[-1].pods if isinstance(item, v1.PodSandbox) else requests[-1].containers).append(item)  # type: ignore[arg-type]
    return requests
