"""A client of a node's streaming server, from within the node's network namespace."""

import asyncio
import contextlib
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from podwright.client.aio import AsyncClient
from podwright.client.streaming import Command, over_spdy, over_websocket
from podwright.client.upgrade import to_spdy, to_websocket
from podwright.kernel import namespaces
from podwright.kernel.mounts import in_thread_of_its_own
from podwright.wire import remote_command
from podwright.wire.remote_command import Channel
from support.node import Node

T = TypeVar("T")

TRANSPORTS = {
    "spdy": remote_command.SPDY,
    "websocket": remote_command.WEBSOCKET,
}


class Streams:
    """What a client can ask the node for, with the transport and the protocol of its choice."""

    def __init__(self, cri: AsyncClient) -> None:
        self.cri = cri

    async def exec(
        self, container_id: str, *command: str, stdin: bool = False, tty: bool = False, over: str = "v5.channel.k8s.io"
    ) -> Command:
        """`over` is a sub-protocol, with `spdy:` before it for SPDY."""
        answer = await self.cri.exec(container_id, command, stdin=stdin, stdout=True, stderr=not tty, tty=tty)
        return await connect(answer.url, stdin=stdin, tty=tty, over=over)

    async def attach(
        self, container_id: str, *, stdin: bool = False, tty: bool = False, over: str = "v5.channel.k8s.io"
    ) -> Command:
        """As exec."""
        answer = await self.cri.attach(container_id, stdin=stdin, stdout=True, stderr=not tty, tty=tty)
        return await connect(answer.url, stdin=stdin, tty=tty, over=over)


async def connect(url: str, *, stdin: bool = False, tty: bool = False, over: str) -> Command:
    """Connects to the URL of an exec or attach."""
    wanted = [*([Channel.STDIN] if stdin else []), Channel.STDOUT, *([] if tty else [Channel.STDERR])]
    if over.startswith("spdy:"):
        return await over_spdy(await to_spdy(url, [over.removeprefix("spdy:")]), wanted, tty=tty)
    return over_websocket(await to_websocket(url, [over]), wanted, tty=tty)


async def read_until(command: Command, text: bytes) -> bytes:
    """Output up to where `text` has come."""
    output = bytearray()
    while text not in output[-(64 << 10) :]:
        data = await command.stdout.read()
        assert data, f"it ended after {bytes(output[-1000:])!r}"
        output += data
    return bytes(output)


def on(node: Node, test: Callable[[Streams], Coroutine[Any, Any, T]], *, seconds: float = 60) -> T:
    """Runs the test in the network namespace of the node, where its streaming server listens."""

    async def run() -> T:
        async with asyncio.timeout(seconds), AsyncClient(f"unix://{node.socket}") as cri:
            return await test(Streams(cri))

    return within(node, lambda: asyncio.run(run()))


def within(node: Node, work: Callable[[], T]) -> T:
    """Runs something in a thread in the node's network namespace."""

    def inside() -> T:
        namespaces.join(f"/proc/{node.holder}/ns/net", "net")
        return work()

    return in_thread_of_its_own(inside)


def raw(node: Node, url: str, *pieces: bytes) -> bytes:
    """Sends bytes to the streaming server at this URL and returns all that it answers."""
    parts = urllib.parse.urlsplit(url)

    def talk() -> bytes:
        answer = b""
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
            for piece in pieces:
                connection.sendall(piece)
            while data := connection.recv(65536):
                answer += data
        return answer

    return within(node, talk)


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it gets; `namespace` is the path of the network namespace to listen in."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, namespace: str, address: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _EchoHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = in_thread_of_its_own(lambda: self._socket_within(namespace))
        self.server_bind()
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def _socket_within(self, namespace: str) -> socket.socket:
        namespaces.join(namespace, "net")
        return socket.socket(self.address_family)

    def close(self) -> None:
        """Ends it with all of its connections."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class _EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := self.request.recv(65536):
                self.request.sendall(data)
