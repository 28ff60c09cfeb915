"""Attach, as kubectl and crictl use it."""

import asyncio
from typing import Any

import pytest

from podwright.client.streaming import over_websocket
from podwright.client.upgrade import to_websocket
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.wire.remote_command import Channel, Outcome
from support.cri import Pods, until
from support.streaming import Streams, on, read_until

pytestmark = pytest.mark.root

OVER = ["spdy:channel.k8s.io", "spdy:v4.channel.k8s.io", "", "v4.base64.channel.k8s.io", "v5.channel.k8s.io"]
BEST = ["spdy:v4.channel.k8s.io", "v5.channel.k8s.io"]


def started(pods: Pods, script: str, handler: str = "", **fields: Any) -> str:
    return pods.start(pods.run_sandbox(handler=handler), pods.container_config(script, **fields))


@pytest.mark.parametrize("over", OVER)
def test_output_and_input(pods: Pods, over: str) -> None:
    container = started(pods, "while read line; do echo got $line; echo err $line >&2; done", stdin=True)

    async def test(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True, over=over) as command:
            for word in (b"one", b"two"):
                await command.send(word + b"\n")
                await read_until(command, b"got " + word + b"\n")
                assert await command.stderr.read() == b"err " + word + b"\n"

    on(pods.node, test)
    assert pods.status(container).state == v1.CONTAINER_RUNNING  # its stdin outlives the client
    assert pods.output(container) == "got one\nerr one\ngot two\nerr two\n"


@pytest.mark.parametrize("over", BEST)
def test_the_end_of_the_container_ends_the_session(pods: Pods, over: str) -> None:
    container = started(pods, "read line; echo bye; exit 7", stdin=True)

    async def test(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True, over=over) as command:
            await command.send(b"go\n")
            assert await command.stdout.read_all() == b"bye\n"
            assert await command.outcome() == Outcome(0)

    on(pods.node, test)
    assert pods.exited(container).exit_code == 7


@pytest.mark.parametrize("tty", [False, True])
def test_many_clients_at_once(pods: Pods, *, tty: bool) -> None:
    container = started(pods, "while read line; do echo got $line; done", stdin=True, tty=tty)
    end = b"\r\n" if tty else b"\n"

    async def test(streams: Streams) -> None:
        clients = [
            await streams.attach(container, stdin=stdin, tty=tty, over=over)
            for over in BEST
            for stdin in (False, True, True)
        ]
        await clients[1].send(b"one\n")
        for client in clients:
            await read_until(client, b"got one" + end)
        for leaving in clients[::2]:
            leaving._connection.abort()
        await clients[5].send(b"two\n")
        for client in clients[1::2]:
            await read_until(client, b"got two" + end)
        for client in clients:
            await client.close()

    on(pods.node, test)
    assert pods.status(container).state == v1.CONTAINER_RUNNING


@pytest.mark.parametrize("handler", ["crun", "runc"])
def test_a_terminal(pods: Pods, handler: str) -> None:
    container = started(
        pods, "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done", handler, stdin=True, tty=True
    )

    pods.says(container, "ready")

    async def test(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True, tty=True) as command:
            await command.resize(width=133, height=44)  # kubectl does so, for the program to draw its screen anew
            await command.resize(width=132, height=43)
            await read_until(command, b"43 132\r\n")
            await command.resize(width=80, height=25)
            await read_until(command, b"25 80\r\n")

    on(pods.node, test)


@pytest.mark.parametrize("ending", ["finish", "abort"])
@pytest.mark.parametrize("once", [False, True])
def test_a_session_at_a_terminal_can_be_resumed(pods: Pods, ending: str, *, once: bool) -> None:
    container = started(pods, "while read line; do echo got $line; done", stdin=True, stdin_once=once, tty=True)

    async def test(streams: Streams) -> None:
        for word in (b"one", b"two"):  # `kubectl run -it` asks for stdin_once, and says how to resume the session
            async with await streams.attach(container, stdin=True, tty=True) as command:
                await command.send(word + b"\n")
                await read_until(command, b"got " + word + b"\r\n")
                if ending == "finish":
                    command.finish()
                    assert await command.outcome() == Outcome(0)
                else:
                    command._connection.abort()

    on(pods.node, test, seconds=10)
    assert pods.status(container).state == v1.CONTAINER_RUNNING


def test_a_terminal_is_read_by_clients_without_one_too(pods: Pods) -> None:
    container = started(pods, "while read line; do echo got $line; done", stdin=True, tty=True)

    async def test(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True) as command:
            await command.send(b"x\n")
            await read_until(command, b"got x\r\n")

    on(pods.node, test)


@pytest.mark.parametrize("over", BEST)
@pytest.mark.parametrize("ending", ["finish", "abort"])
def test_stdin_for_one_client_only(pods: Pods, over: str, ending: str) -> None:
    container = started(pods, "cat; echo end", stdin=True, stdin_once=True)

    async def test(streams: Streams) -> None:
        for _ in range(2):  # who only looks is not the one client
            async with await streams.attach(container, over=over) as looking:
                assert looking is not None
        watching = await streams.attach(container, over=over)
        async with await streams.attach(container, stdin=True, over=over) as command:
            await command.send(b"hello\n")
            assert await command.stdout.read() == b"hello\n"
            assert await watching.stdout.read() == b"hello\n"
            if ending == "finish":
                command.finish()
                assert await command.stdout.read_all() == b"end\n"
            else:
                command._connection.abort()
            assert await watching.stdout.read_all() == b"end\n"
            await watching.close()

    on(pods.node, test)
    assert pods.exited(container).exit_code == 0


@pytest.mark.parametrize(("tty", "once"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("over", BEST)
def test_the_end_of_input_ends_the_session_where_the_container_goes_on(
    pods: Pods, over: str, *, tty: bool, once: bool
) -> None:
    container = started(pods, "while read line; do echo got $line; done", stdin=True, stdin_once=once, tty=tty)

    async def test(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True, tty=tty, over=over) as command:
            await command.send(b"one\n")
            command.finish()
            output = await command.stdout.read_all()  # what the container says to the last line still arrives
            assert output == (b"one\r\ngot one\r\n" if tty else b"got one\n")
            assert await command.outcome() == Outcome(0)

    on(pods.node, test, seconds=10)
    assert pods.status(container).state == v1.CONTAINER_RUNNING


def test_a_client_that_gives_up_its_input_is_detached(pods: Pods) -> None:
    container = started(pods, "while read line; do echo got $line; done", stdin=True)

    async def test(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True, over="spdy:v4.channel.k8s.io") as command:
            await command.send(b"one\n")
            await read_until(command, b"got one\n")
            command._channels[Channel.STDIN].reset()
            assert await command.outcome() == Outcome(0)

    on(pods.node, test, seconds=10)


def test_who_sends_only_leaves_at_the_end_of_the_input(pods: Pods) -> None:
    container = started(pods, "cat; sleep 1000", stdin=True, stdin_once=True)

    async def test(streams: Streams) -> None:
        url = (await streams.cri.attach(container, stdin=True)).url
        upgraded = await to_websocket(url, BEST[1:])
        async with over_websocket(upgraded, [Channel.STDIN], tty=False) as command:
            await command.send(b"one\n")
            command.finish()
            assert await command.outcome() == Outcome(0)

    on(pods.node, test, seconds=10)
    assert pods.output(container) == "one\n"


def test_who_looks_on_holds_up_nobody_after_leaving(pods: Pods) -> None:
    container = started(pods, "read line; head -c 8000000 /dev/zero; echo end; sleep 1000", stdin=True, stdin_once=True)

    async def test(streams: Streams) -> None:
        async with await streams.attach(container):
            pass
        async with await streams.attach(container, stdin=True) as command:
            await command.send(b"go\n")
            assert len(await read_until(command, b"end\n")) == 8000004

    on(pods.node, test)


@pytest.mark.parametrize("over", BEST)
def test_much_input_and_output(pods: Pods, over: str) -> None:
    container = started(pods, "cat", stdin=True, stdin_once=True)
    piece = bytes(range(256)) * 1024

    async def test(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True, over=over) as command:

            async def send() -> None:
                for _ in range(64):
                    await command.send(piece)
                command.finish()

            sending = asyncio.create_task(send())
            assert await command.stdout.read_all() == piece * 64
            await sending

    on(pods.node, test)


def test_what_cannot_be_is_refused_at_once(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    plain, created = pods.start(sandbox), pods.create(sandbox)
    ended = pods.start(sandbox, "exit 0")
    pods.exited(ended)
    with pytest.raises(InvalidArgument, match="has no terminal"):
        pods.cri.attach(plain, tty=True, stdout=True)
    with pytest.raises(InvalidArgument, match=r"stdin: container .* has none"):
        pods.cri.attach(plain, stdin=True, stdout=True)
    for container, state in ((created, "created"), (ended, "exited")):
        with pytest.raises(FailedPrecondition, match=f"is {state}"):
            pods.cri.attach(container, stdout=True)


def test_sessions_of_a_daemon_that_is_killed_do_not_hurt_the_container(pods: Pods) -> None:
    container = started(pods, "while read line; do echo got $line; done", stdin=True)

    async def attached(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True) as command:
            await command.send(b"one\n")
            await read_until(command, b"got one\n")
            await asyncio.to_thread(pods.node.kill)
            assert await command.stdout.read_all() == b""

    async def again(streams: Streams) -> None:
        async with await streams.attach(container, stdin=True) as command:
            await command.send(b"two\n")
            await read_until(command, b"got two\n")

    on(pods.node, attached)
    pods.node.start()
    until(lambda: pods.status(container).state, lambda state: state == v1.CONTAINER_RUNNING)
    on(pods.node, again)
