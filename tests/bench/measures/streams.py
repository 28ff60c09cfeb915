"""Streams over SPDY, as `kubectl exec` and `kubectl port-forward` use them: a short command, and a gibibyte through
each way: stdout and stdin of exec, and a forwarded port, both ways.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable

from bench.pods import Pod, bring_up, new_pod
from bench.results import Quantity
from bench.run import Bench
from podwright.client.aio import AsyncClient
from podwright.client.streaming import Command, PortForward
from podwright.client.upgrade import to_spdy
from podwright.kernel import namespaces
from podwright.kernel.mounts import in_thread_of_its_own
from podwright.multiplex.connection import Connection
from podwright.wire import port_forward, spdy
from support.streaming import connect, within

PORT = 9000
PIECE = b"\0" * (1 << 20)
SPDY = "spdy:v4.channel.k8s.io"
"""The protocol that both speak: Debian's containerd refuses version 5 over WebSocket."""

Way = Callable[[AsyncClient, Pod, int], Awaitable[None]]


async def _exec(cri: AsyncClient, pod: Pod, *command: str, stdin: bool = False) -> Command:
    answer = await cri.exec(pod.containers[0], command, stdin=stdin, stdout=True, stderr=True)
    return await connect(answer.url, stdin=stdin, over=SPDY)


async def _true(cri: AsyncClient, pod: Pod, _: int) -> None:
    async with await _exec(cri, pod, "true") as command:
        assert (await command.outcome()).exit_code == 0


async def _stdout(cri: AsyncClient, pod: Pod, size: int) -> None:
    async with await _exec(cri, pod, "dd", "if=/dev/zero", "bs=64k", f"count={size >> 16}") as command:
        received = 0
        while data := await command.stdout.read():
            received += len(data)
        assert received == size


async def _stdin(cri: AsyncClient, pod: Pod, size: int) -> None:
    # Through another process: containerd may lose the input of one that reads at once.
    async with await _exec(cri, pod, "sh", "-c", "cat | dd of=/dev/null bs=64k; echo ok", stdin=True) as command:
        for _ in range(size // len(PIECE)):
            await command.send(PIECE)
        command.finish()
        assert await command.stdout.read_all() == b"ok\n"


async def _forward(cri: AsyncClient, pod: Pod) -> PortForward:
    url = (await cri.port_forward(pod.sandbox, [])).url
    session = spdy.Session(client=True)
    upgraded = await to_spdy(url, [port_forward.SPDY_PROTOCOL])
    connection = Connection(session)
    connection.start(upgraded.transport, upgraded.data)
    return PortForward(connection, session)


async def _from_port(cri: AsyncClient, pod: Pod, size: int) -> None:
    with _listening(pod) as listener:
        threading.Thread(target=_give, args=(listener, size), daemon=True).start()
        async with await _forward(cri, pod) as forwarding:
            connection, received = await forwarding.connect(PORT), 0
            while received < size:
                data = await connection.read()
                assert data
                received += len(data)


async def _to_port(cri: AsyncClient, pod: Pod, size: int) -> None:
    with _listening(pod) as listener:
        threading.Thread(target=_take, args=(listener, size), daemon=True).start()
        async with await _forward(cri, pod) as forwarding:
            connection = await forwarding.connect(PORT)
            for _ in range(size // len(PIECE)):
                await connection.send(PIECE)
            assert await connection.read() == b"ok"


def _listening(pod: Pod) -> socket.socket:
    """A socket in the pod's network."""
    status = pod.peer.client.container_status(pod.containers[0], verbose=True)
    process = json.loads(status.info["info"])["pid"]

    def make() -> socket.socket:
        namespaces.join(f"/proc/{pod.peer.machine.holder}/root/proc/{process}/ns/net", "net")
        return socket.create_server(("127.0.0.1", PORT))

    return in_thread_of_its_own(make)


def _give(listener: socket.socket, size: int) -> None:
    connection, _ = listener.accept()
    with connection:
        for _ in range(size // len(PIECE)):
            connection.sendall(PIECE)


def _take(listener: socket.socket, size: int) -> None:
    connection, _ = listener.accept()
    with connection:
        while size > 0:
            size -= len(connection.recv(len(PIECE)))
        connection.sendall(b"ok")


WAYS: dict[str, Way] = {
    "from stdout of exec": _stdout,
    "to stdin of exec": _stdin,
    "from a forwarded port": _from_port,
    "to a forwarded port": _to_port,
}


def measure(bench: Bench) -> None:
    """The client is the same for both, and its work is not counted as processor time."""
    size = bench.choose(1 << 30, 64 << 20)
    amount = bench.choose("a gibibyte", "64 MiB")
    with bench.peers() as made:
        pods = {peer.name: new_pod(peer) for peer in made}
        for pod in pods.values():
            bring_up(pod)
        for peer in bench.rounds(made, bench.choose(20, 3)):
            _enter(bench, pods[peer.name], "exec of true, from the call to the exit code", _true)
        for name, way in WAYS.items():
            for peer in bench.rounds(made, bench.choose(3, 1)):
                _enter(bench, pods[peer.name], f"{amount} {name}", way, size, part=2)


def _enter(bench: Bench, pod: Pod, title: str, way: Way, size: int = 0, part: float | None = None) -> None:
    before = pod.peer.cpu_ms()
    bench.add(Quantity("streams", title, "ms", part=part), pod.peer, _run(way, pod, size))
    bench.add(Quantity("streams", f"CPU of {title}", "ms"), pod.peer, pod.peer.cpu_ms() - before)


def _run(way: Way, pod: Pod, size: int) -> float:
    """Returns how many milliseconds it took."""

    async def work() -> float:
        async with AsyncClient(f"unix://{pod.peer.socket}") as cri:
            begun = time.perf_counter()
            await way(cri, pod, size)
            return (time.perf_counter() - begun) * 1000

    return within(pod.peer.machine, lambda: asyncio.run(work()))
