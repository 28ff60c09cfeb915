"""`podwright port-forward`: ports of this machine that lead to ports of a pod."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from podwright.cli.connection import connect
from podwright.cli.inventory import Inventory
from podwright.client.streaming import Ask, ForwardedConnection, PortForward, open_forward
from podwright.errors import FailedPrecondition, InvalidArgument, PodwrightError, Unavailable

READ_SIZE = 64 << 10


@dataclass(frozen=True, slots=True)
class Ports:
    """A port here, 0 for any, and the one in the pod that it leads to."""

    local: int
    remote: int

    @classmethod
    def parse(cls, text: str) -> "Ports":
        """Reads REMOTE, LOCAL:REMOTE or :REMOTE. Raises InvalidArgument."""
        local, colon, remote = text.rpartition(":")
        numbers = [remote if not colon else local or "0", remote]
        if not all(n.isascii() and n.isdecimal() and int(n) < 1 << 16 for n in numbers) or int(remote) == 0:
            raise InvalidArgument(f"{text!r} is none of REMOTE, LOCAL:REMOTE and :REMOTE with numbers of ports")
        return cls(int(numbers[0]), int(numbers[1]))


def port_forward(options: argparse.Namespace) -> int:
    """Forwards until interrupted, or until the runtime ends it, which is an error."""
    wanted = [Ports.parse(text) for text in options.ports]
    with connect(options) as cri:
        pod = Inventory.of(cri).pod(options.name)

        async def ask() -> str:
            return (await asyncio.to_thread(cri.port_forward, pod.id, [])).url

        asyncio.run(_forward(ask, options.address, wanted))
    return 0


async def _forward(ask: Ask, address: str, wanted: Sequence[Ports]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        forward = await stack.enter_async_context(await open_forward(ask))
        for ports in wanted:
            server = await stack.enter_async_context(await _listen(forward, address, ports))
            for sock in server.sockets:
                print(f"{sock.getsockname()[0]} port {sock.getsockname()[1]} leads to port {ports.remote}", flush=True)
        raise Unavailable(f"forwarding has ended: {await forward.lost()}")


async def _listen(forward: PortForward, address: str, ports: Ports) -> asyncio.Server:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _serve(await forward.connect(ports.remote), reader, writer)
        except PodwrightError as error:
            print(f"podwright: {error}", file=sys.stderr)
        finally:
            writer.close()

    try:
        return await asyncio.start_server(accepted, address, ports.local)
    except OSError as error:
        raise FailedPrecondition(f"cannot listen on {address}, port {ports.local}: {error.strerror}") from None


async def _serve(connection: ForwardedConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sending = asyncio.create_task(_send(connection, reader))
    try:
        while data := await connection.read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        await sending
    except ConnectionError:
        pass  # the local program has left
    finally:
        sending.cancel()
        connection.close()


async def _send(connection: ForwardedConnection, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):  # either side has left; the other direction tells
        while data := await reader.read(READ_SIZE):
            await connection.send(data)
        connection.finish()
