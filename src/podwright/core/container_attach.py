"""Attach: the streams of a container's own process, by way of its conmon.

conmon sends the output to everyone who is attached, and waits for each: a client that does not read holds up the
container, as with any runtime, and loses nothing. Where the container's stdin is to be closed after the first client
(`is_closed_after`) conmon does so when *any* connection ends; so a client without stdin leaves its connection behind,
which is read and forgotten until the container ends.

Where it stays open a client who has nothing more to say is detached, as by containerd and CRI-O: `echo x | kubectl
attach -i` would not return else. containerd does so at once, and what the container answers is lost; here it has
ANSWER_SECONDS.
"""

import asyncio
import contextlib
import os
import socket

from podwright.core.runtime import Runtime
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.kernel.nonblocking import Fd
from podwright.oci import conmon
from podwright.oci.execution import Wanted
from podwright.state.records import Container
from podwright.wire import conmon as packets

ANSWER_SECONDS = 1.0
"""How long output is still read after the end of the input."""


def is_closed_after(config: v1.ContainerConfig) -> bool:
    """Whether the container's stdin is closed when the first client who writes to it has ended its input.

    That of a terminal cannot be; it is for the next client, as with containerd, so that a session of `kubectl run -it`
    can be resumed.
    """
    return config.stdin_once and not config.tty


def check(container: Container, wanted: Wanted) -> None:
    """Raises FailedPrecondition unless the container runs, InvalidArgument for streams that it does not have."""
    if container.status.phase != "running":
        raise FailedPrecondition(
            f"container {container.title} is {container.status.phase}: only a running one can be attached to"
        )
    if wanted.tty and not container.config.tty:
        raise InvalidArgument(f"tty: container {container.title} has no terminal; attach without one")
    if wanted.stdin and not container.config.stdin:
        raise InvalidArgument(f"stdin: container {container.title} has none; attach without it")


class AttachSession:
    """A connection to a container's conmon."""

    def __init__(self, bundle: str, connection: socket.socket, *, awaits_end: bool, must_stay: bool) -> None:
        """`awaits_end`: goes on after the end of the input. `must_stay`: the connection goes on after `close`."""
        self._bundle = bundle
        self._socket = connection
        self._awaits_end = awaits_end
        self._must_stay = must_stay
        self._fd = Fd(os.dup(connection.fileno()))

    async def read(self) -> tuple[str, bytes] | None:
        """The next piece of output and where it was written, stdout or stderr; None when the container has ended, or
        no more is to be read after `finish`.
        """
        try:
            packet = await self._fd.read(packets.LARGEST_OUTPUT)
        except ConnectionResetError:  # conmon was killed
            return None
        return packets.split_output(packet) if packet else None

    async def write(self, data: bytes) -> None:
        """Writes to the container's stdin. Raises BrokenPipeError when it has ended."""
        for at in range(0, len(data), packets.LARGEST_INPUT):
            await self._fd.write(data[at : at + packets.LARGEST_INPUT])

    def finish(self) -> None:
        """No more input from here: closes the container's stdin if it is for one client only, or else detaches soon."""
        with contextlib.suppress(OSError):  # ENOTCONN: the container has ended
            self._socket.shutdown(socket.SHUT_WR)
        if not self._awaits_end:
            self._fd.end_soon(ANSWER_SECONDS)

    def resize(self, *, width: int, height: int) -> None:
        """Sets the size of the container's terminal."""
        with contextlib.suppress(OSError):  # ENXIO: conmon has ended
            conmon.resize(self._bundle, width=width, height=height)

    def close(self) -> None:
        """Detaches."""
        self._fd.close()
        if self._must_stay:
            _leave_behind(self._socket)
        else:
            self._socket.close()


async def attach(runtime: Runtime, container: Container, wanted: Wanted) -> AttachSession:
    """Connects. Raises as `check` does."""
    check(container, wanted)
    bundle = runtime.paths.bundle(container.id)
    try:
        connection = await asyncio.to_thread(conmon.attach, bundle)
    except OSError as error:
        raise FailedPrecondition(
            f"container {container.title} cannot be attached to: its monitor does not answer: {error.strerror}"
        ) from error
    closes = is_closed_after(container.config)
    return AttachSession(
        bundle,
        connection,
        awaits_end=closes and (wanted.stdout or wanted.stderr),
        must_stay=closes and not wanted.stdin,
    )


def _leave_behind(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()

    def discard() -> None:
        try:
            if connection.recv(packets.LARGEST_OUTPUT):
                return
        except BlockingIOError:
            return
        except ConnectionResetError:
            pass
        loop.remove_reader(connection)
        connection.close()

    connection.setblocking(False)
    loop.add_reader(connection, discard)
