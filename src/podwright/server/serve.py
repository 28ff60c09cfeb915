"""The gRPC servers: both services on one socket, or each on its own.

All services of all API versions are registered before a socket exists: a client never sees half of them (cri-dockerd
0.3.0 had that race).
"""

import contextlib
import os
from collections.abc import Sequence

import grpc
import grpc.aio

from podwright.cadvisor import methods as cadvisor_methods
from podwright.control import methods as control_methods
from podwright.core.runtime import Runtime
from podwright.cri.methods import API_VERSIONS, METHODS, ServiceName
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.server import cadvisor, control, dispatch
from podwright.server.dispatch import Call
from podwright.server.table import HANDLERS

MESSAGE_BYTES = 64 << 20
"""Largest message either way. Kubelets take 16 MiB; requests with many annotations and lists of large nodes are no
reason to fail.
"""
STOP_SECONDS = 5.0


class Server:
    """What listens for CRI clients."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._servers: list[grpc.aio.Server] = []

    async def start(self, runtime_endpoint: str, image_endpoint: str, mode: int) -> None:
        """Serves on the endpoints; an empty image endpoint, or the same one, means one socket for both services.

        `mode` is the sockets' access mode. Raises InvalidArgument, FailedPrecondition.
        """
        if image_endpoint in ("", runtime_endpoint):
            await self._listen(runtime_endpoint, mode, "RuntimeService", "ImageService")
        else:
            await self._listen(runtime_endpoint, mode, "RuntimeService")
            await self._listen(image_endpoint, mode, "ImageService")

    async def _listen(self, endpoint: str, mode: int, *services: ServiceName) -> None:
        path = socket_path(endpoint)
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),
            ]
        )
        server.add_generic_rpc_handlers(self._services(services))
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a daemon that was killed; the lock says that it is gone
        umask = os.umask(0o777 & ~mode)
        try:
            server.add_insecure_port(f"unix:{path}")
        except RuntimeError as error:
            raise FailedPrecondition(f"cannot listen on {endpoint}: {error}") from None
        finally:
            os.umask(umask)
        await server.start()
        self._servers.append(server)

    def _services(self, names: Sequence[ServiceName]) -> list[grpc.GenericRpcHandler]:
        """The CRI services, each API version with just the RPCs that it has, our own, and what cAdvisor asks."""
        services = [
            dispatch.service(
                self._runtime,
                f"runtime.{version}.{name}",
                [m for m in METHODS.values() if m.service == name and version in m.versions],
                HANDLERS,
                Call(version),
            )
            for name in names
            for version in API_VERSIONS
        ]
        ours = dispatch.service(
            self._runtime, control_methods.SERVICE, control_methods.METHODS.values(), control.HANDLERS, Call("v1")
        )
        cadvisors = [
            dispatch.service(self._runtime, name, rpcs, cadvisor.HANDLERS[name], Call("v1"))
            for name, rpcs in cadvisor_methods.SERVICES.items()
        ]
        return [*services, ours, *cadvisors]

    async def stop(self) -> None:
        """Takes no more calls and gives those under way a moment."""
        for server in self._servers:
            await server.stop(STOP_SECONDS)


def socket_path(endpoint: str) -> str:
    """The path in unix:///path or a bare absolute path. Raises InvalidArgument."""
    path = endpoint.removeprefix("unix://")
    if not path.startswith("/"):
        raise InvalidArgument(f"{endpoint!r} is not an endpoint: unix:///path is expected")
    if len(os.fsencode(path)) > 107:  # sun_path of unix(7), with its NUL
        raise InvalidArgument(f"{endpoint!r} is too long: a socket's path may have 107 bytes")
    return path
