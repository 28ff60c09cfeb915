"""Port-forward, as kubectl and crictl use it."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from podwright.client import upgrade
from podwright.client.streaming import ForwardedConnection, PortForward
from podwright.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from podwright.kernel import namespaces
from podwright.kernel.mounts import in_thread_of_its_own
from podwright.multiplex.connection import Connection, Disconnected
from podwright.multiplex.websocket import Channels, Tunnel
from podwright.wire import port_forward, spdy
from support.cri import Pods, until
from support.streaming import Echo, Streams, on

pytestmark = pytest.mark.root

TRANSPORTS = ["spdy", "tunnel"]


async def forward(streams: Streams, sandbox: str, over: str) -> PortForward:
    url = (await streams.cri.port_forward(sandbox, [])).url
    session = spdy.Session(client=True)
    if over == "spdy":
        upgraded = await upgrade.to_spdy(url, [port_forward.SPDY_PROTOCOL])
        connection = Connection(session)
    else:
        upgraded = await upgrade.to_websocket(url, [port_forward.TUNNEL_PROTOCOL])
        connection = Connection(Tunnel(session, client=True))
    connection.start(upgraded.transport, upgraded.data)
    return PortForward(connection, session)


async def read_all(connection: ForwardedConnection) -> bytes:
    data = b""
    while piece := await connection.read():
        data += piece
    return data


async def echoed(connection: ForwardedConnection, data: bytes) -> bytes:
    async def send() -> None:
        await connection.send(data)
        connection.finish()

    sending = asyncio.create_task(send())
    received = bytearray()
    while piece := await connection.read():
        received += piece
    await sending
    return bytes(received)


@pytest.fixture(params=["pod", "host"])
def sandbox(request: pytest.FixtureRequest, pods: Pods) -> Iterator[str]:
    """A sandbox with a network of its own, or with the node's. What comes to port 8080 of 127.0.0.1, or to 8086 of ::1,
    is echoed.
    """
    config = pods.networked_config() if request.param == "pod" else pods.sandbox_config()
    made = pods.run_sandbox(config)
    namespace = str(pods.proc(pods.start(made)) / "ns/net")
    echoes = [Echo(namespace, "127.0.0.1", 8080), Echo(namespace, "::1", 8086)]
    yield made
    for echo in echoes:
        echo.close()


@pytest.mark.parametrize("over", TRANSPORTS)
def test_listeners_on_localhost_are_reached(pods: Pods, sandbox: str, over: str) -> None:
    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, over) as forwarding:
            for port in (8080, 8086):
                assert await echoed(await forwarding.connect(port), b"hello") == b"hello"

    on(pods.node, test)


@pytest.mark.parametrize("over", TRANSPORTS)
def test_a_port_that_nobody_listens_on_breaks_nothing(pods: Pods, sandbox: str, over: str) -> None:
    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, over) as forwarding:
            good = await forwarding.connect(8080)
            await good.send(b"before")
            assert await good.read() == b"before"
            with pytest.raises(Unavailable, match=f"error forwarding port 9 to pod {sandbox}.*connection refused"):
                await (await forwarding.connect(9)).read()
            assert await echoed(good, b"after") == b"after"

    on(pods.node, test)


@pytest.mark.parametrize("over", TRANSPORTS)
def test_many_connections_at_once(pods: Pods, sandbox: str, over: str) -> None:
    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, over) as forwarding:

            async def one(number: int) -> None:
                data = os.urandom(20000) + b"%d" % number
                assert await echoed(await forwarding.connect(8080), data) == data

            await asyncio.gather(*(one(number) for number in range(50)))
            while forwarding._connection.streams:
                await asyncio.sleep(0.01)

    on(pods.node, test)


@pytest.mark.parametrize("over", TRANSPORTS)
def test_much_goes_both_ways(pods: Pods, sandbox: str, over: str) -> None:
    data = os.urandom(1 << 20) * 32

    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, over) as forwarding:
            assert await echoed(await forwarding.connect(8080), data) == data

    on(pods.node, test)


def test_a_connection_that_nobody_reads_leaves_the_others_alone(pods: Pods, sandbox: str) -> None:
    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, "spdy") as forwarding:
            stuck = await forwarding.connect(8080)
            sending = asyncio.create_task(stuck.send(b"x" * (32 << 20)))
            assert await echoed(await forwarding.connect(8080), b"hello") == b"hello"
            assert not sending.done()
            sending.cancel()

    on(pods.node, test)


def sockets(pods: Pods) -> int:
    """The daemon's sockets."""
    return pods.node.open_files().count("socket")


def test_nothing_is_left_when_the_client_leaves(pods: Pods, sandbox: str) -> None:
    before = sockets(pods)

    async def test(streams: Streams) -> None:
        forwarding = await forward(streams, sandbox, "spdy")
        for _ in range(20):
            connection = await forwarding.connect(8080)
            await connection.send(b"x")
            await connection.read()
        stuck = await forwarding.connect(8080)
        sending = asyncio.create_task(stuck.send(b"x" * (32 << 20)))
        await stuck.read()  # in the midst of it
        forwarding._connection.abort()
        with pytest.raises(BrokenPipeError):
            await sending

    on(pods.node, test)
    until(lambda: sockets(pods), lambda now: now <= before)


def test_a_reset_reaches_the_other_side(pods: Pods, sandbox: str) -> None:
    before = sockets(pods)

    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, "spdy") as forwarding:
            connection = await forwarding.connect(8080)
            await connection.send(b"x")
            assert await connection.read() == b"x"
            connection.close()
            await asyncio.to_thread(until, lambda: sockets(pods), lambda now: now <= before + 2)

    on(pods.node, test)


def test_a_connection_that_is_not_wanted_any_more_is_not_made(pods: Pods, sandbox: str) -> None:
    namespace = str(pods.proc(pods.start(sandbox)) / "ns/net")
    with full(namespace, 8090):

        async def test(streams: Streams) -> None:
            async with await forward(streams, sandbox, "spdy") as forwarding:
                before = sockets(pods)
                waiting = await forwarding.connect(8090)
                await asyncio.to_thread(until, lambda: sockets(pods), lambda now: now > before)
                waiting.close()
                await asyncio.to_thread(until, lambda: sockets(pods), lambda now: now <= before, seconds=5)

        on(pods.node, test)


@contextlib.contextmanager
def full(namespace: str, port: int) -> Iterator[None]:
    """Somebody listens on the port who does not answer: the kernel drops what comes to a full queue."""

    def make() -> list[socket.socket]:
        namespaces.join(namespace, "net")
        listener = socket.create_server(("127.0.0.1", port), backlog=0)
        return [listener, socket.create_connection(("127.0.0.1", port))]

    sockets = in_thread_of_its_own(make)
    try:
        yield
    finally:
        for each in sockets:
            each.close()


@pytest.mark.parametrize("text", [False, True])
def test_plain_websocket(pods: Pods, sandbox: str, *, text: bool) -> None:
    async def test(streams: Streams) -> None:
        url = (await streams.cri.port_forward(sandbox, [8080, 9])).url
        upgraded = await upgrade.to_websocket(url, ["v4.base64.channel.k8s.io" if text else "v4.channel.k8s.io"])
        connection = Connection(Channels(client=True, readable=range(4), base64=text), fixed=range(4))
        connection.start(upgraded.transport, upgraded.data)
        data, error, refused_data, refused_error = (connection.streams[number] for number in range(4))
        for stream, port in ((data, 8080), (error, 8080), (refused_data, 9), (refused_error, 9)):
            assert await stream.read() == port.to_bytes(2, "little")
        assert b"connection refused" in await refused_error.read()
        await data.write(b"hello")
        assert await data.read() == b"hello"
        await connection.close()

    on(pods.node, test)


@pytest.mark.parametrize(
    "headers",
    [
        {"streamtype": "data", "port": "0", "requestid": "1"},
        {"streamtype": "data", "requestid": "1"},
        {"streamtype": "stdin", "port": "80", "requestid": "1"},
        {"port": "80"},
    ],
)
def test_streams_that_make_no_sense_are_reset(pods: Pods, sandbox: str, headers: dict[str, str]) -> None:
    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, "spdy") as forwarding:
            stream = forwarding._connection.add(forwarding._session.open(headers), headers)
            with pytest.raises(Disconnected, match="reset"):
                await stream.until_accepted()
            assert await echoed(await forwarding.connect(8080), b"hello") == b"hello"

    on(pods.node, test)


def test_what_cannot_be_is_refused_at_once(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    for port in (0, -1, 65536):
        with pytest.raises(InvalidArgument, match="is not the number of a port"):
            pods.cri.port_forward(sandbox, [80, port])
    with pytest.raises(NotFound):
        pods.cri.port_forward("0" * 64, [])
    with pytest.raises(InvalidArgument):
        pods.cri.port_forward("", [])
    pods.cri.stop_pod_sandbox(sandbox)
    with pytest.raises(FailedPrecondition, match="is stopped"):
        pods.cri.port_forward(sandbox, [])


def test_a_sandbox_that_stops_meanwhile(pods: Pods, sandbox: str) -> None:
    async def test(streams: Streams) -> None:
        async with await forward(streams, sandbox, "spdy") as forwarding:
            connection = await forwarding.connect(8080)
            await connection.send(b"x")
            assert await connection.read() == b"x"
            await streams.cri.stop_pod_sandbox(sandbox)
            with pytest.raises(Unavailable, match="is stopped"):
                await (await forwarding.connect(8080)).read()

    on(pods.node, test)
