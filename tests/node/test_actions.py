"""The actions of probes and hooks against real servers on this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import grpc
import pytest

from podwright.node import actions
from podwright.pods.schema import Container, GrpcAction, HttpGetAction, HttpHeader, Port, TcpAction

CONTAINER = Container(name="c", image="i", ports=[Port(container_port=81, name="web")])


@asynccontextmanager
async def http_server(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that says the same to everybody, and remembers what it was asked."""
    asked: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()
        for writer in writers:
            writer.close()
        await asyncio.sleep(0)  # closing takes a turn of the loop


@pytest.mark.parametrize(
    ("answer", "good", "output"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, "ok"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", True, ""),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", False, "HTTP probe failed with statuscode: 503"),
        (b"nonsense\r\n\r\n", False, "illegal status line"),
        (b"", False, "context deadline exceeded"),
    ],
)
def test_http(answer: bytes, good: bool, output: str) -> None:
    async def run() -> None:
        async with http_server(answer) as (port, asked):
            headers = [HttpHeader(name="X-One", value="1"), HttpHeader(name="host", value="me")]
            action = HttpGetAction(port=port, path="/healthz?a=1", http_headers=headers)
            outcome = await actions.http_get(action, CONTAINER, "127.0.0.1", 0.3)
            assert outcome.good == good
            assert output in outcome.output
            request = asked[0].decode().lower()
            assert request.startswith("get /healthz?a=1 http/1.1")
            assert "x-one: 1" in request and "host: me" in request and "user-agent: kube-probe/" in request

    asyncio.run(run())


def test_nobody_listens() -> None:
    async def run() -> None:
        async with http_server(b"") as (port, _):
            pass
        http = await actions.http_get(HttpGetAction(port=port), CONTAINER, "127.0.0.1", 1)
        tcp = await actions.tcp_connect(TcpAction(port=port), CONTAINER, "127.0.0.1", 1)
        health = await actions.grpc_check(GrpcAction(port=port), "127.0.0.1", 1)
        assert not (http.good or tcp.good or health.good)
        assert "refused" in tcp.output and "health rpc failed" in health.output

    asyncio.run(run())


def test_tcp() -> None:
    async def run() -> None:
        async with http_server(b"") as (port, _):
            assert (await actions.tcp_connect(TcpAction(port=str(port)), CONTAINER, "127.0.0.1", 1)).good

    asyncio.run(run())


def test_ports_by_name() -> None:
    assert actions.find_port("web", CONTAINER) == 81
    assert actions.find_port("8080", CONTAINER) == 8080
    assert actions.find_port("none", CONTAINER) is None
    assert actions.find_port(70000, CONTAINER) is None


class Health(grpc.GenericRpcHandler):
    """grpc.health.v1.Health: "good" serves, "bad" does not, other services are not known."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        if details.method != "/grpc.health.v1.Health/Check":
            return None

        def check(request: bytes, context: grpc.ServicerContext) -> bytes:
            if request in (b"", b"\x0a\x04good"):
                return b"\x08\x01"
            if request == b"\x0a\x03bad":
                return b"\x08\x02"
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            raise AssertionError

        return grpc.unary_unary_rpc_method_handler(check)


def served(use: Callable[[int], None]) -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Health(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        use(port)
    finally:
        server.stop(None).wait()


def test_grpc_health() -> None:
    def use(port: int) -> None:
        for service, good in (("", True), ("good", True), ("bad", False), ("none", False)):
            outcome = asyncio.run(actions.grpc_check(GrpcAction(port=port, service=service), "127.0.0.1", 2))
            assert outcome.good == good, service

    served(use)
