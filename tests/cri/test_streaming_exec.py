"""Exec with streams, as kubectl and crictl use it."""

import asyncio
import contextlib
import hashlib
from pathlib import Path

import pytest

from podwright.client import streaming as client
from podwright.client.streaming import Command
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument
from podwright.wire.remote_command import Channel, Outcome
from support.cri import Pods, secured, until
from support.streaming import Streams, connect, on, read_until

pytestmark = pytest.mark.root

SPDY = [f"spdy:{version}channel.k8s.io" for version in ("", "v2.", "v3.", "v4.", "v5.")]
WEBSOCKET = ["", *(f"{version}channel.k8s.io" for version in ("", "v1.", "v2.", "v3.", "v4.", "v5."))]
BASE64 = ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"]
BEST = ["spdy:v4.channel.k8s.io", "v5.channel.k8s.io"]
HANDLERS = ["crun", "runc"]


async def finished(command: Command) -> tuple[bytes, bytes, Outcome]:
    """What it has written, and how it ended."""
    stdout, stderr = await asyncio.gather(command.stdout.read_all(), command.stderr.read_all())
    return stdout, stderr, await command.outcome()


@pytest.mark.parametrize("over", SPDY + WEBSOCKET + BASE64)
def test_streams_and_exit_code(pods: Pods, over: str) -> None:
    container = pods.start(pods.run_sandbox())

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", "-c", "echo out; echo err >&2; exit 3", over=over) as command:
            stdout, stderr, outcome = await finished(command)
            assert (stdout, stderr) == (b"out\n", b"err\n")
            if command.protocol.has_status:
                assert outcome == Outcome(3)
            else:
                assert "exit code: 3" in outcome.message
        async with await streams.exec(container, "true", over=over) as command:
            assert await finished(command) == (b"", b"", Outcome(0))

    on(pods.node, test)


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("over", [*SPDY[1:], "v5.channel.k8s.io"])
def test_stdin_has_an_end(pods: Pods, over: str, handler: str) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", "-c", "cat; echo end", stdin=True, over=over) as command:
            await command.send(b"some ")
            await command.send(b"input\n")
            command.finish()
            assert await finished(command) == (b"some input\nend\n", b"", Outcome(0))

    on(pods.node, test)


@pytest.mark.parametrize("over", BEST)
def test_input_that_nobody_reads(pods: Pods, over: str) -> None:
    container = pods.start(pods.run_sandbox())

    async def test(streams: Streams) -> None:
        async with await streams.exec(
            container, "sh", "-c", "exec <&-; sleep 0.5; echo done", stdin=True, over=over
        ) as command:
            with contextlib.suppress(BrokenPipeError):
                for _ in range(64):
                    await command.send(b"x" * (1 << 20))
            assert await finished(command) == (b"done\n", b"", Outcome(0))

    on(pods.node, test)


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("over", BEST)
def test_a_terminal(pods: Pods, over: str, handler: str) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))
    script = "trap 'stty size; read line; echo got $line; exit 5' WINCH; tty; while :; do sleep 0.1; done"

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", "-c", script, stdin=True, tty=True, over=over) as command:
            await read_until(command, b"/dev/pts/")
            await command.resize(width=132, height=43)
            await read_until(command, b"43 132\r\n")
            await command.send(b"hello\n")
            assert b"got hello\r\n" in await command.stdout.read_all()
            assert await command.outcome() == Outcome(5)

    on(pods.node, test)


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_terminal_has_its_size_from_the_beginning(pods: Pods, handler: str) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))

    async def test(streams: Streams) -> None:
        script = 'until size=$(stty size 2>/dev/null) && [ "$size" ]; do :; done; echo $size'  # clients may be late
        async with await streams.exec(container, "sh", "-c", script, tty=True) as command:
            await command.resize(width=101, height=37)
            assert await finished(command) == (b"37 101\r\n", b"", Outcome(0))

    on(pods.node, test)


@pytest.mark.parametrize("handler", HANDLERS)
def test_control_keys_reach_the_terminals_processes(pods: Pods, handler: str) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", stdin=True, tty=True) as command:
            await command.send(b"sh -c 'echo begun $((1+1)); exec sleep 7654'\n")
            await read_until(command, b"begun 2\r\n")  # not what the terminal echoes
            await command.send(b"\x03")
            await command.send(b"echo still $((40+3)); exit\n")
            await read_until(command, b"still 43\r\n")
            await command.stdout.read_all()
            assert (await command.outcome()).exit_code == 0

    on(pods.node, test)


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("tty", [False, True])
def test_a_command_that_does_not_exist(pods: Pods, handler: str, *, tty: bool) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "/no/such/command", tty=tty) as command:
            _, _, outcome = await finished(command)
            assert outcome.exit_code is None
            assert '"/no/such/command" cannot be run in container' in outcome.message

    on(pods.node, test)


@pytest.mark.parametrize("over", BEST)
def test_much_output_arrives_as_it_was_written(pods: Pods, over: str) -> None:
    container = pods.start(pods.run_sandbox())
    size = 64 << 20

    async def test(streams: Streams) -> None:
        script = f"seq 1 100000000 | head -c {size}"
        async with await streams.exec(
            container, "sh", "-c", f"{script} | tee /dev/stderr | md5sum > /tmp/sum; cat /tmp/sum", over=over
        ) as command:
            stdout, stderr, outcome = await finished(command)
            assert outcome == Outcome(0)
            assert len(stderr) == size
            assert stdout.decode().split()[0] == hashlib.md5(stderr).hexdigest()

    on(pods.node, test)


@pytest.mark.parametrize("over", BEST)
def test_much_input_arrives_as_it_was_sent(pods: Pods, over: str) -> None:
    container = pods.start(pods.run_sandbox())
    piece = bytes(range(256)) * 4096

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "md5sum", stdin=True, over=over) as command:
            for _ in range(64):
                await command.send(piece)
            command.finish()
            stdout, _, _ = await finished(command)
            assert stdout.decode().split()[0] == hashlib.md5(piece * 64).hexdigest()

    on(pods.node, test)


@pytest.mark.parametrize("over", BEST)
def test_a_slow_reader_loses_nothing_and_holds_nobody_up(pods: Pods, over: str) -> None:
    container = pods.start(pods.run_sandbox())
    size = 32 << 20

    async def test(streams: Streams) -> None:
        slow = await streams.exec(
            container, "sh", "-c", f"head -c {size} /dev/zero; echo written > /tmp/written", over=over
        )
        async with slow:
            await slow.stdout.read()
            async with await streams.exec(container, "sh", "-c", "sleep 0.3; cat /tmp/written", over=over) as quick:
                _, stderr, _ = await finished(quick)
                assert b"No such file" in stderr  # the slow one's command is held back
            stdout, _, outcome = await finished(slow)
            assert (set(stdout), outcome) == ({0}, Outcome(0))

    on(pods.node, test)


@pytest.mark.parametrize("handler", HANDLERS)
def test_children_that_hold_the_output_open_are_not_waited_for(pods: Pods, handler: str) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", "-c", "echo done; sleep 1000 & exit 0") as command:
            assert await finished(command) == (b"done\n", b"", Outcome(0))

    on(pods.node, test, seconds=20)
    assert "sleep 1000" in pods.exec(container, "ps -o args")  # what goes on in the background is left alone


# the client leaves

ENDED = "/tmp/ended"


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("over", BEST)
def test_a_command_whose_client_leaves_is_hung_up(pods: Pods, over: str, handler: str, *, tty: bool) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))
    script = "trap 'echo hung up > /tmp/ended; exit' HUP; echo begun; while :; do sleep 0.1; done"

    async def test(streams: Streams) -> None:
        command = await streams.exec(container, "sh", "-c", script, tty=tty, over=over)
        await read_until(command, b"begun")
        command._connection.abort()

    on(pods.node, test)
    until(lambda: pods.exec(container, "cat /tmp/ended 2>/dev/null; :"), lambda text: text == "hung up\n")
    until(lambda: execs(pods, container), lambda left: not left)


def test_a_command_that_waits_for_input_ends_when_its_client_leaves(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox())

    async def test(streams: Streams) -> None:
        command = await streams.exec(container, "cat", stdin=True)
        await command.send(b"x")
        await command.stdout.read()
        command._connection.abort()

    on(pods.node, test)
    until(lambda: pods.exec(container, "ps -o args"), lambda text: "cat" not in text.splitlines())


def test_a_client_that_gives_up_its_input_ends_it(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox())

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "cat", stdin=True, over="spdy:v4.channel.k8s.io") as command:
            await command.send(b"x")
            assert await command.stdout.read() == b"x"
            command._channels[Channel.STDIN].reset()
            assert await finished(command) == (b"", b"", Outcome(0))

    on(pods.node, test, seconds=10)


@pytest.mark.slow
def test_a_command_that_will_not_hang_up_is_killed_but_nothing_else(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox())

    async def test(streams: Streams) -> None:
        polite = await streams.exec(
            container, "sh", "-c", "trap '' HUP; sleep 2000 & trap - HUP; echo begun; sleep 3000"
        )
        await read_until(polite, b"begun")
        polite._connection.abort()
        stubborn = await streams.exec(container, "sh", "-c", "trap '' HUP; echo begun; sleep 4000")
        await read_until(stubborn, b"begun")
        stubborn._connection.abort()

    on(pods.node, test)
    until(lambda: execs(pods, container), lambda left: not left)
    processes = pods.exec(container, "ps -o args")
    assert "sleep 2000" in processes
    assert "sleep 3000" not in processes
    assert "sleep 4000" not in processes


def execs(pods: Pods, container: str) -> list[Path]:
    """The records of commands that run."""
    bundle = Path(f"/proc/{pods.node.daemon}/root{pods.node.state}/containers/{container}")
    return list(bundle.glob("exec-*"))


# the container ends


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("tty", [False, True])
def test_commands_die_with_their_container(pods: Pods, handler: str, *, tty: bool) -> None:
    container = pods.start(pods.run_sandbox(handler=handler))

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", "-c", "echo begun; sleep 1000", tty=tty) as command:
            await read_until(command, b"begun")
            await streams.cri.stop_container(container, timeout=0)
            await command.stdout.read_all()
            assert (await command.outcome()).exit_code == 137

    on(pods.node, test)


def test_commands_may_run_while_a_container_is_asked_to_stop_but_not_when_it_is_killed(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox(), "trap 'echo stopping' TERM; echo ready; while :; do sleep 0.1; done")
    pods.says(container, "ready")

    async def test(streams: Streams) -> None:
        stopping = asyncio.create_task(streams.cri.stop_container(container, timeout=3))
        await asyncio.to_thread(pods.says, container, "stopping")
        assert pods.exec(container, "echo $((1+1))") == "2\n"
        async with await streams.exec(container, "echo", "why") as command:
            assert await finished(command) == (b"why\n", b"", Outcome(0))
        late = (await streams.cri.exec(container, ["true"], stdout=True)).url
        await stopping
        with pytest.raises(FailedPrecondition, match="is exited"):
            await streams.cri.exec(container, ["true"], stdout=True)
        async with await connect(late, over="v5.channel.k8s.io") as command:
            _, _, outcome = await finished(command)
            assert outcome.exit_code is None
            assert "is exited" in outcome.message

    on(pods.node, test)


def test_what_cannot_be_is_refused_at_once(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    container, created = pods.start(sandbox), pods.create(sandbox)
    for wrong in ({"tty": True, "stderr": True}, {}):
        with pytest.raises(InvalidArgument):
            pods.cri.exec(container, ["true"], **wrong)
    for command in ([], [""], ["a\0b"]):
        with pytest.raises(InvalidArgument, match="cmd"):
            pods.cri.exec(container, command, stdout=True)
    with pytest.raises(FailedPrecondition, match="is created"):
        pods.cri.exec(created, ["true"], stdout=True)


def test_the_client_falls_back_to_spdy(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    container = pods.start(pods.run_sandbox())
    monkeypatch.setattr(client, "_WEBSOCKET_PROTOCOLS", ("v99.channel.k8s.io",))

    async def test(streams: Streams) -> None:
        async with await client.open_exec(streams.cri, container, ["cat"], stdin=True) as command:
            assert command.protocol.version == 4
            await command.send(b"hello")
            command.finish()
            assert await finished(command) == (b"hello", b"", Outcome(0))

    on(pods.node, test)


def test_user_and_environment_are_the_containers(pods: Pods) -> None:
    sandbox = pods.run_sandbox()
    config = pods.container_config(envs=[v1.KeyValue(key="COLOUR", value=b"blue")], working_dir="/tmp")
    config.linux.security_context.run_as_user.value = 1000
    container = pods.start(sandbox, config)

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", "-c", "id -u; echo $COLOUR; pwd") as command:
            assert (await finished(command))[0] == b"1000\nblue\n/tmp\n"
        async with await streams.exec(container, "sh", "-c", "echo $TERM", tty=True) as command:
            assert (await finished(command))[0] == b"xterm\r\n"

    on(pods.node, test)


def test_children_that_never_stop_writing_are_not_listened_to(pods: Pods) -> None:
    container = pods.start(pods.run_sandbox())

    async def test(streams: Streams) -> None:
        async with await streams.exec(container, "sh", "-c", "(while :; do echo more; done) & exit 3") as command:
            assert (await finished(command))[2] == Outcome(3)

    on(pods.node, test, seconds=20)


@pytest.mark.parametrize("tty", [False, True])
def test_streams_can_be_opened_anew_by_whoever_the_container_runs_as(pods: Pods, *, tty: bool) -> None:
    script = "echo out > /dev/stdout; read line < /dev/stdin; echo got $line"
    mapping = [v1.IDMapping(host_id=200000, container_id=0, length=65536)]
    mapped = v1.NamespaceOption(
        pid=v1.CONTAINER, userns_options=v1.UserNamespace(mode=v1.POD, uids=mapping, gids=mapping)
    )
    sandbox = v1.LinuxSandboxSecurityContext(namespace_options=mapped)
    containers = [
        pods.start(
            pods.run_sandbox(pods.sandbox_config(linux=v1.LinuxPodSandboxConfig(security_context=sandbox)), "crun"),
            pods.container_config(linux=secured(namespace_options=mapped)),
        ),
        *(
            pods.start(
                pods.run_sandbox(handler=handler),
                pods.container_config(linux=secured(run_as_user=v1.Int64Value(value=1000))),
            )
            for handler in HANDLERS
        ),
    ]

    async def test(streams: Streams) -> None:
        for container in containers:
            async with await streams.exec(container, "sh", "-c", script, stdin=True, tty=tty) as command:
                await command.send(b"hey\n")
                stdout, stderr, outcome = await finished(command)
                assert stdout.replace(b"\r", b"").replace(b"hey\n", b"", int(tty)) == b"out\ngot hey\n", stderr
                assert outcome == Outcome(0)

    on(pods.node, test)
