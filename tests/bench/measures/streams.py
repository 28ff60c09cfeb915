"""Streams: exec as `kubectl exec` does it, and port-forward, over SPDY, which both runtimes speak."""

import time
from collections.abc import Callable, Coroutine
from typing import Any

from bench.peers import Peer
from bench.pods import Pod, bring_up, new_pod
from bench.results import Quantity
from bench.run import Bench
from podwright.client.streaming import PortForward
from podwright.client.upgrade import to_spdy
from podwright.multiplex.connection import Connection
from podwright.wire import port_forward, spdy
from support.streaming import Streams, on

Work = Callable[[Streams], Coroutine[Any, Any, float]]
"""Returns how many milliseconds it took."""

SPDY = "spdy:v4.channel.k8s.io"
PORT = 8080
PIECE = 64 << 10


def measure(bench: Bench) -> None:
    """The client is the same, on the runtime's machine; its work is not counted."""
    megabytes = bench.choose(256, 32)
    with bench.peers() as made:
        pods = {peer.name: new_pod(peer) for peer in made}
        for pod in pods.values():
            bring_up(pod)
            source = f"/bin/dd if=/dev/zero bs={PIECE} count={megabytes * 16}"
            serve = f"nc -ll -p {PORT} -e {source} >/dev/null 2>&1 &"
            pod.peer.client.exec_sync(pod.containers[0], ["sh", "-c", serve])
        for peer in bench.rounds(made, bench.choose(20, 3)):
            _enter(bench, peer, "exec of true, from the call to the exit code", _true(pods[peer.name]))
        for peer in bench.rounds(made, bench.choose(5, 2)):
            _enter(bench, peer, f"exec, {megabytes} MiB out", _output(pods[peer.name], megabytes))
            _enter(bench, peer, f"port-forward, {megabytes} MiB out", _forwarded(pods[peer.name], megabytes))


def _enter(bench: Bench, peer: Peer, title: str, work: Work) -> None:
    cpu = peer.cpu_ms()
    bench.add(Quantity("streams", title, "ms"), peer, on(peer.machine, work, seconds=120))
    bench.add(Quantity("streams", f"CPU of {title}", "ms"), peer, peer.cpu_ms() - cpu)


def _true(pod: Pod) -> Work:
    async def work(streams: Streams) -> float:
        begun = time.perf_counter()
        async with await streams.exec(pod.containers[0], "true", over=SPDY) as command:
            assert (await command.outcome()).exit_code == 0
        return (time.perf_counter() - begun) * 1000

    return work


def _output(pod: Pod, megabytes: int) -> Work:
    async def work(streams: Streams) -> float:
        arguments = ["dd", "if=/dev/zero", f"bs={PIECE}", f"count={megabytes * 16}"]
        begun, size = time.perf_counter(), 0
        async with await streams.exec(pod.containers[0], *arguments, over=SPDY) as command:
            while data := await command.stdout.read():
                size += len(data)
        assert size == megabytes << 20
        return (time.perf_counter() - begun) * 1000

    return work


def _forwarded(pod: Pod, megabytes: int) -> Work:
    async def work(streams: Streams) -> float:
        begun, size = time.perf_counter(), 0
        url = (await streams.cri.port_forward(pod.sandbox, [PORT])).url
        session = spdy.Session(client=True)
        connection = Connection(session)
        upgraded = await to_spdy(url, (port_forward.SPDY_PROTOCOL,))
        connection.start(upgraded.transport, upgraded.data)
        async with PortForward(connection, session) as forward:
            to_port = await forward.connect(PORT)
            while data := await to_port.read():
                size += len(data)
        assert size == megabytes << 20
        return (time.perf_counter() - begun) * 1000

    return work
