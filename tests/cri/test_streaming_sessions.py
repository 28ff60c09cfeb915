"""Many sessions, large ones, and those that a daemon's end cuts off: nothing is left behind, and memory is bounded."""

import asyncio
import hashlib
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwright.client.streaming import Command, open_port_forward
from podwright.errors import Unavailable
from podwright.wire.remote_command import Outcome
from support.cri import Pods, until
from support.node import node
from support.streaming import Echo, Streams, on, read_until

pytestmark = pytest.mark.root

GIB = 1 << 30
BEST = ["spdy:v4.channel.k8s.io", "v5.channel.k8s.io"]


def memory(pods: Pods) -> int:
    """The most bytes that the daemon has had resident since the mark was reset."""
    status = Path(f"/proc/{pods.node.daemon}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def reset_memory(pods: Pods) -> int:
    Path(f"/proc/{pods.node.daemon}/clear_refs").write_text("5")
    return memory(pods)


@pytest.mark.slow
def test_two_hundred_sessions_at_once(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox())
    before = Counter(pods.node.open_files())

    async def test(streams: Streams) -> None:
        async def one(number: int) -> None:
            tty = number % 4 == 0
            command = await streams.exec(container, "cat", stdin=True, tty=tty, over=BEST[number % 2])
            word = b"session %d\n" % number
            await command.send(word)
            output = b""
            while output.count(b"\n") < (2 if tty else 1):  # a terminal echoes
                output += await command.stdout.read()
            everybody.release()
            await together.wait()
            if number % 3 == 0:
                command._connection.abort()
                return
            async with command:
                if tty:
                    await command.send(b"\x04")
                else:
                    command.finish()
                assert await command.stdout.read_all() == b""
                assert await command.outcome() == Outcome(0)

        everybody, together = asyncio.Semaphore(0), asyncio.Event()
        sessions = [asyncio.create_task(one(number)) for number in range(200)]
        for _ in sessions:
            await everybody.acquire()
        together.set()
        await asyncio.gather(*sessions)

    on(pods.node, test, seconds=110)
    until(lambda: pods.exec(container, "ps -o args"), lambda text: "cat" not in text.splitlines())
    until(lambda: Counter(pods.node.open_files()) - before, lambda more: not more)


def test_two_hundred_clients_of_one_container(pods: Pods) -> None:
    script = "while read line; do echo got $line; done"
    container = pods.start(pods.run_sandbox(), pods.container_config(script, stdin=True))
    before = Counter(pods.node.open_files())

    async def test(streams: Streams) -> None:
        attaching = (streams.attach(container, stdin=True, over=BEST[number % 2]) for number in range(200))
        clients = await asyncio.gather(*attaching)
        for number, word in enumerate((b"one", b"two", b"three")):
            await clients[-1].send(word + b"\n")
            await asyncio.gather(*(read_until(client, b"got " + word + b"\n") for client in clients[number:]))
            clients[number]._connection.abort()
        await asyncio.gather(*(client.close() for client in clients))

    on(pods.node, test)
    until(lambda: Counter(pods.node.open_files()) - before, lambda more: not more)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gibibyte_each_way(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox())
    piece = hashlib.sha256(b"seed").digest() * (1 << 15)  # 1 MiB
    before = reset_memory(pods)

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "cat", stdin=True, over="spdy:v4.channel.k8s.io") as command:
            sent, received, size = hashlib.md5(), hashlib.md5(), 0

            async def send() -> None:
                for number in range(1024):
                    part = number.to_bytes(4, "big") + piece[4:]
                    sent.update(part)
                    await command.send(part)
                command.finish()

            sending = asyncio.create_task(send())
            while data := await command.stdout.read():
                received.update(data)
                size += len(data)
            await sending
            assert (size, received.digest()) == (GIB, sent.digest())
            assert await command.outcome() == Outcome(0)

    on(pods.node, test, seconds=280)
    assert memory(pods) < before + (64 << 20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_gibibyte_through_a_port(pods: Pods) -> None:
    sandbox = pods.run_sandbox(pods.networked_config())
    echo = Echo(str(pods.proc(pods.start(sandbox)) / "ns/net"), "127.0.0.1", 8080)
    before = reset_memory(pods)
    piece = hashlib.sha256(b"seed").digest() * (1 << 15)

    async def test(streams: Streams) -> None:
        async with await open_port_forward(streams.cri, sandbox) as forwarding:
            connection = await forwarding.connect(8080)
            sent, received, size = hashlib.md5(), hashlib.md5(), 0

            async def send() -> None:
                for number in range(1024):
                    part = number.to_bytes(4, "big") + piece[4:]
                    sent.update(part)
                    await connection.send(part)
                connection.finish()

            sending = asyncio.create_task(send())
            while data := await connection.read():
                received.update(data)
                size += len(data)
            await sending
            assert (size, received.digest()) == (GIB, sent.digest())

    try:
        on(pods.node, test, seconds=280)
    finally:
        echo.close()
    assert memory(pods) < before + (64 << 20)


@pytest.mark.slow
def test_who_does_not_read_costs_no_memory(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox())
    before = reset_memory(pods)

    async def test(streams: Streams) -> None:
        slow = [await streams.exec(container, "yes", over=BEST[number % 2]) for number in range(20)]
        floods = [await streams.exec(container, "sleep", "5678", stdin=True, over=over) for over in BEST * 10]
        sending = [asyncio.create_task(flood.send(b"x" * (64 << 20))) for flood in floods]
        await asyncio.sleep(3)  # as long as it takes to fill what has room
        for task in sending:
            task.cancel()
        for command in (*slow, *floods):
            reset(command)

    on(pods.node, test)
    assert memory(pods) < before + (128 << 20)
    until(lambda: pods.exec(container, "ps -o args"), lambda text: "yes" not in text and "5678" not in text)


def reset(command: Command) -> None:
    """Ends the connection as the kernel does for a client that dies with unread input."""
    sock = command._connection._transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    command._connection.abort()


@pytest.fixture
def own() -> Iterator[Pods]:
    """A node for tests that end the daemon."""
    with node() as made:
        made.start()
        pods = Pods(made)
        pods.load_image()
        yield pods
        pods.close()


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_commands_end_with_the_daemon(own: Pods, ending: str) -> None:
    containers = [own.start(own.run_sandbox(handler=handler)) for handler in ("crun", "runc")]

    async def test(streams: Streams) -> None:
        commands = [
            await streams.exec(container, "sh", "-c", "echo begun; sleep 4567", tty=tty, over=over)
            for container in containers
            for tty in (False, True)
            for over in BEST
        ]
        for command in commands:
            assert (await command.stdout.read()).strip() == b"begun"
        await asyncio.to_thread(own.node.stop if ending == "stop" else own.node.kill)
        for command in commands:
            await command.stdout.read_all()
            with pytest.raises(Unavailable, match="lost"):
                await command.outcome()

    on(own.node, test)
    own.node.start()
    until(
        lambda: "".join(own.exec(container, "ps -o args") for container in containers), lambda text: "4567" not in text
    )
    bundles = Path(f"/proc/{own.node.daemon}/root{own.node.state}/containers")
    assert not list(bundles.glob("*/exec-*"))
    assert not list((bundles.parent / "consoles").iterdir())
