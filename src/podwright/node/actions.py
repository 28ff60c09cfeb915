"""The four things that can be asked of a container: run a command, an HTTP GET, a TCP connection, a gRPC health check.

For probes and lifecycle hooks. Each answers whether it went well and what came; nothing is raised but for time-outs of
the caller's own.
"""

import asyncio
import os
import ssl
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio
import h11

from podwright.client import AsyncClient
from podwright.errors import DeadlineExceeded, PodwrightError
from podwright.pods.schema import Container, ExecAction, GrpcAction, HttpGetAction, TcpAction

_LONGEST_OUTPUT: Final = 10 << 10  # bytes; a kubelet shows no more of an answer
_USER_AGENT: Final = "kube-probe/1.36"
_SERVING: Final = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    good: bool
    output: str = ""
    known: bool = True
    """False: it could not be asked at all, which says nothing of the container. Then it is not good either."""


async def execute(cri: AsyncClient, container_id: str, action: ExecAction, seconds: int) -> Outcome:
    """Runs a command in the container for at most `seconds`; 0 for no limit."""
    try:
        answer = await cri.exec_sync(container_id, action.command, timeout=seconds)
    except DeadlineExceeded as error:
        return Outcome(good=False, output=f"command timed out: {error}")
    except PodwrightError as error:
        return Outcome(good=False, output=f"command failed: {error}", known=False)
    text = (answer.stdout + answer.stderr)[:_LONGEST_OUTPUT].decode(errors="replace")
    return Outcome(answer.exit_code == 0, text)


async def http_get(action: HttpGetAction, container: Container, address: str, seconds: float) -> Outcome:
    """Good is a status from 200 to 399, as redirects are not followed to other hosts by kubelets either."""
    port = find_port(action.port, container)
    if port is None:
        return Outcome(good=False, output=f'couldn\'t find port "{action.port}"', known=False)
    host = action.host or address
    secure = action.scheme == "HTTPS"
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    url = f"{'https' if secure else 'http'}://{_bracketed(host)}:{port}{path}"
    headers = {"Host": f"{_bracketed(host)}:{port}", "User-Agent": _USER_AGENT, "Accept": "*/*", "Connection": "close"}
    for header in action.http_headers:
        name = next((known for known in headers if known.lower() == header.name.lower()), header.name)
        headers[name] = header.value
    try:
        async with asyncio.timeout(seconds):
            status, body = await _get(host, port, path, headers, _unverified() if secure else None)
    except TimeoutError:
        return Outcome(good=False, output=f'Get "{url}": context deadline exceeded')
    except (OSError, h11.ProtocolError, ssl.SSLError) as error:
        return Outcome(good=False, output=f'Get "{url}": {_why(error)}')
    if 200 <= status < 400:
        return Outcome(good=True, output=body)
    return Outcome(good=False, output=f"HTTP probe failed with statuscode: {status}")


async def tcp_connect(action: TcpAction, container: Container, address: str, seconds: float) -> Outcome:
    """Good is a connection, which is closed at once."""
    port = find_port(action.port, container)
    if port is None:
        return Outcome(good=False, output=f'couldn\'t find port "{action.port}"', known=False)
    host = action.host or address
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(good=False, output=f"dial tcp {_bracketed(host)}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(good=False, output=f"dial tcp {_bracketed(host)}:{port}: {_why(error)}")
    writer.close()
    return Outcome(good=True)


async def grpc_check(action: GrpcAction, address: str, seconds: float) -> Outcome:
    """Good is the answer SERVING of grpc.health.v1.Health/Check."""
    name = action.service.encode()
    request = b"\x0a" + _varint(len(name)) + name if name else b""  # HealthCheckRequest{service}
    target = f"{_bracketed(address)}:{action.port}"
    channel = grpc.aio.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)])
    try:
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        answer = await check(request, timeout=seconds)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Outcome(good=False, output="this server does not implement the grpc health protocol")
        return Outcome(good=False, output=f"error: health rpc failed: {error.details() or error.code().name.lower()}")
    finally:
        await channel.close()
    if answer == _SERVING:
        return Outcome(good=True, output="SERVING")
    return Outcome(good=False, output='service unhealthy (responded with "NOT_SERVING")')


def find_port(wanted: int | str, container: Container) -> int | None:
    """A port by its number, or by its name among the container's."""
    if isinstance(wanted, int) or wanted.isdigit():
        number = int(wanted)
        return number if 0 < number < 65536 else None
    return next((port.container_port for port in container.ports if port.name == wanted), None)


async def _get(
    host: str, port: int, path: str, headers: dict[str, str], context: ssl.SSLContext | None
) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        connection = h11.Connection(h11.CLIENT)
        writer.write(connection.send(h11.Request(method="GET", target=path, headers=list(headers.items()))) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        status, body = 0, b""
        while True:
            event = connection.next_event()
            match event:
                case h11.NEED_DATA:
                    connection.receive_data(await reader.read(1 << 14))
                case h11.Response():
                    status = event.status_code
                case h11.Data():
                    body += bytes(event.data)
                    if len(body) >= _LONGEST_OUTPUT:
                        break
                case h11.EndOfMessage() | h11.ConnectionClosed():
                    break
        return status, body[:_LONGEST_OUTPUT].decode(errors="replace")
    finally:
        writer.close()


def _unverified() -> ssl.SSLContext:
    """Probes do not check certificates, as the API says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _why(error: Exception) -> str:
    """asyncio's own words for a failed connection name the call, not the cause."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and not isinstance(error, ssl.SSLError) else str(error)


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + _varint(number >> 7)
