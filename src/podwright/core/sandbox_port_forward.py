"""PortForward: a connection to a port of a sandbox, made within its network namespace."""

import asyncio
import os
import socket

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import FailedPrecondition, Unavailable
from podwright.kernel import namespaces
from podwright.kernel.mounts import in_thread_of_its_own
from podwright.state.records import Sandbox

CONNECT_SECONDS = 10.0
_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""As a kubelet's users know it: what listens on localhost only is reached too."""


def check(sandbox: Sandbox) -> None:
    """Raises FailedPrecondition unless the sandbox is ready."""
    if sandbox.status.phase != "ready":
        raise FailedPrecondition(
            f"sandbox {sandbox.title} is {sandbox.status.phase}: ports of a ready one can be forwarded"
        )


async def connect(runtime: Runtime, sandbox: Sandbox, port: int) -> socket.socket:
    """A connection to the port on the sandbox's localhost, IPv4 or else IPv6. Raises Unavailable if nobody listens."""
    check(sandbox)
    failures = []
    for family, address in _ADDRESSES:
        try:
            connection = await asyncio.to_thread(_socket_within, runtime, sandbox, family)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asyncio.get_running_loop().sock_connect(connection, (address, port))
            except BaseException:
                connection.close()
                raise
        except OSError as error:  # a time-out too
            failures.append(f"{address}: {os.strerror(error.errno).lower() if error.errno else 'no answer'}")
        else:
            return connection
    raise Unavailable(f"nobody can be reached at port {port} of sandbox {sandbox.title}: {', '.join(failures)}")


def _socket_within(runtime: Runtime, sandbox: Sandbox, family: socket.AddressFamily) -> socket.socket:
    """A socket belongs to the network namespace that it is made in, whoever connects it."""
    if sandbox.config.linux.security_context.namespace_options.network == v1.NODE:
        return _socket(family)
    pin = runtime.paths.pin(sandbox.id, "net")

    def make() -> socket.socket:
        namespaces.join(pin, "net")
        return _socket(family)

    return in_thread_of_its_own(make)


def _socket(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made
