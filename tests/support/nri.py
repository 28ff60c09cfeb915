"""A plugin of the Node Resource Interface, on a thread of its own: notes what it is told, answers as it is set."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from podwright.nri import v1
from podwright.nri.connection import Connection
from podwright.nri.methods import PLUGIN_METHODS, PLUGIN_SERVICE, RUNTIME_METHODS, RUNTIME_SERVICE
from podwright.wire import nri

Reply = Callable[[Any], Message | None]
"""Takes the request; None stands for an empty response. What it raises is the plugin's refusal."""


class Plugin:
    """A plugin."""

    def __init__(
        self,
        path: str | socket.socket,
        index: str = "10",
        name: str = "test",
        events: int = 0,
        replies: Mapping[str, Reply] | None = None,
    ) -> None:
        """`path` is the socket, or its path; `events` a mask (0 for all), `replies` are by the name of the call."""
        self.path, self.index, self.name, self.events = path, index, name, events
        self.replies = dict(replies or {})
        self.calls: list[tuple[str, Any]] = []
        """What it was told, in order."""
        self.told = threading.Condition()
        self.left = threading.Event()
        """Set when the connection is over."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connection: Connection | None = None

    def start(self) -> None:
        """Connects, registers, and waits until it takes part. Raises what registration raises."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._register(), self._loop).result(10)
        self.wait("Synchronize")

    def call(self, method: str, request: Message) -> Any:
        """Calls the runtime."""
        assert self._connection is not None
        return asyncio.run_coroutine_threadsafe(self._connection.call(method, request, 5), self._loop).result(10)

    def drop(self) -> None:
        """Closes the connection in the middle of a call."""
        assert self._connection is not None
        self._loop.call_soon_threadsafe(self._connection.close)
        assert self.left.wait(10)

    def close(self) -> None:
        """Leaves."""
        self._loop.call_soon_threadsafe(self._leave)
        self._thread.join(10)
        self._loop.close()

    def wait(self, method: str, count: int = 1) -> list[Any]:
        """Waits until it has been told so many times of something; returns those requests."""
        with self.told:
            assert self.told.wait_for(lambda: len(self.requests(method)) >= count, 10), f"{method}: {self.names()}"
        return self.requests(method)

    def requests(self, method: str) -> list[Any]:
        """The requests of one kind so far."""
        return [request for name, request in self.calls if name == method]

    def names(self, about: str = "") -> list[str]:
        """The names of the calls so far; those about one container, or one pod, only."""
        return [name for name, request in self.calls if not about or about in _subjects(request)]

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._loop.call_later(0, self._loop.stop)

    async def _register(self) -> None:
        connected = self.path if isinstance(self.path, socket.socket) else socket.socket(socket.AF_UNIX)
        if isinstance(self.path, str):
            connected.connect(self.path)
        reader, writer = await asyncio.open_unix_connection(sock=connected)
        self._connection = Connection(
            reader,
            writer,
            serves=(nri.PLUGIN, PLUGIN_SERVICE, PLUGIN_METHODS),
            calls=(nri.RUNTIME, RUNTIME_SERVICE, RUNTIME_METHODS),
            answer=self._answer,
        )
        reading = self._loop.create_task(self._connection.run())
        reading.add_done_callback(lambda _: self.left.set())
        request = v1.RegisterPluginRequest(plugin_name=self.name, plugin_idx=self.index)
        await self._connection.call("RegisterPlugin", request, 5)

    async def _answer(self, method: str, request: Message) -> Message:
        reply = self.replies.get(method)
        try:
            answer = None if reply is None else await asyncio.to_thread(reply, request)
        finally:
            with self.told:
                self.calls.append((method, request))
                self.told.notify_all()
        if answer is not None:
            return answer
        response = PLUGIN_METHODS[method][1]()
        if isinstance(response, v1.ConfigureResponse):
            response.events = self.events
        if isinstance(response, v1.SynchronizeResponse) and isinstance(request, v1.SynchronizeRequest):
            response.more = request.more
        return response


def _subjects(request: Any) -> set[str]:
    """The ids of the pod and of the container that a request is about."""
    names = {field.name for field in request.DESCRIPTOR.fields}
    if "container" in names and request.HasField("container"):
        return {request.container.id}
    return {request.pod.id} if "pod" in names else set()


def mask(*events: int) -> int:
    """The events as a plugin asks for them."""
    return sum(1 << (event - 1) for event in events)


@contextlib.contextmanager
def plugin(
    path: str,
    index: str = "10",
    name: str = "test",
    events: int = 0,
    replies: Mapping[str, Reply] | None = None,
    **more: Reply,
) -> Iterator[Plugin]:
    """A plugin for a `with` block; `more` are replies too, such as CreateContainer=…"""
    made = Plugin(path, index, name, events, {**(replies or {}), **more})
    made.start()
    try:
        yield made
    finally:
        made.close()
