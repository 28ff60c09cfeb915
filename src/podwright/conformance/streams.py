"""Exec, attach and port-forward with streams, as kubectl uses them."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from podwright.client.streaming import Command, open_command, open_forward
from podwright.conformance.bench import Bench
from podwright.conformance.checks import check, expect, refused, same
from podwright.errors import Code, Unavailable
from podwright.wire.remote_command import Channel, Outcome

T = TypeVar("T")

SECONDS = 60.0


def _run(work: Coroutine[Any, Any, T]) -> T:
    async def limited() -> T:
        async with asyncio.timeout(SECONDS):
            return await work

    return asyncio.run(limited())


async def _exec(
    bench: Bench, container: str, command: Iterable[str], *, stdin: bool = False, tty: bool = False
) -> Command:
    words = list(command)

    async def ask() -> str:
        answer = await asyncio.to_thread(
            lambda: bench.cri.exec(container, words, stdin=stdin, stdout=True, stderr=not tty, tty=tty)
        )
        return answer.url

    wanted = [*([Channel.STDIN] if stdin else []), Channel.STDOUT, *([] if tty else [Channel.STDERR])]
    return await open_command(ask, wanted, tty=tty)


async def _finished(command: Command) -> tuple[bytes, bytes, Outcome]:
    stdout, stderr = await asyncio.gather(command.stdout.read_all(), command.stderr.read_all())
    return stdout, stderr, await command.outcome()


@check("kubectl exec")
def exec_streams(bench: Bench) -> None:
    """Exec gives both streams and the exit code, apart."""
    container = bench.start(bench.pod())

    async def work() -> None:
        async with await _exec(bench, container, ["sh", "-c", "echo out; echo err >&2; exit 3"]) as command:
            same(await _finished(command), (b"out\n", b"err\n", Outcome(3)), "what came")

    _run(work())


@check("kubectl cp, kubectl exec -i")
def exec_stdin(bench: Bench) -> None:
    """Exec passes stdin on to its end, and the command's output back, whole."""
    container = bench.start(bench.pod())
    data = bytes(range(256)) * 16384

    async def work() -> None:
        async with await _exec(bench, container, ["cat"], stdin=True) as command:

            async def send() -> None:
                await command.send(data)
                command.finish()

            sending = asyncio.create_task(send())
            stdout, _, outcome = await _finished(command)
            await sending
            expect(stdout == data, f"{len(stdout)} bytes came back, not the {len(data)} that were sent")
            same(outcome, Outcome(0), "the outcome")

    _run(work())


@check("kubectl exec -it")
def exec_terminal(bench: Bench) -> None:
    """Exec with a terminal: it is one, it has the size that the client tells, and takes what is typed."""
    container = bench.start(bench.pod())

    async def work() -> None:
        script = "tty; read line; stty size; exit 4"
        async with await _exec(bench, container, ["sh", "-c", script], stdin=True, tty=True) as command:
            await command.resize(width=123, height=45)
            output = await command.stdout.read()
            expect(b"/dev/" in output, f"tty(1) says {output!r}")
            await command.send(b"go\n")
            output = await command.stdout.read_all()
            expect(b"45 123" in output, f"the size is {output!r}")
            same(await command.outcome(), Outcome(4), "the outcome")

    _run(work())


@check("kubernetes#124743, containerd#9568")
def exec_of_a_container_that_is_killed(bench: Bench) -> None:
    """A command of exec dies with its container, and its session ends."""
    container = bench.start(bench.pod())

    async def work() -> None:
        async with await _exec(bench, container, ["sh", "-c", "echo begun; sleep 1000"]) as command:
            same(await command.stdout.read(), b"begun\n", "what came")
            await asyncio.to_thread(bench.cri.stop_container, container, timeout=0)
            await command.stdout.read_all()
            outcome: Outcome | None = None
            with contextlib.suppress(Unavailable):
                outcome = await command.outcome()
            expect(outcome is None or outcome.exit_code != 0, "the command has succeeded")

    _run(work())


@check("kubelet: the URLs that it hands on")
def bad_requests(bench: Bench) -> None:
    """Exec and Attach that ask for no stream, or for stderr of a terminal, are refused."""
    container = bench.start(bench.pod())
    calls: tuple[Callable[..., object], ...] = (
        lambda **wanted: bench.cri.exec(container, ["true"], **wanted),
        lambda **wanted: bench.cri.attach(container, **wanted),
    )
    for call in calls:
        with refused("no stream at all", Code.INVALID_ARGUMENT):
            call()
        with refused("stderr of a terminal", Code.INVALID_ARGUMENT):
            call(tty=True, stdout=True, stderr=True)


@check("kubectl attach")
def attach(bench: Bench) -> None:
    """Attach gives a container what is typed, shows what it says to several clients, and leaves it alone."""
    script = "while read line; do echo got $line; done"
    container = bench.start(bench.pod(), "sh", "-c", script, stdin=True)

    async def ask() -> str:
        answer = await asyncio.to_thread(lambda: bench.cri.attach(container, stdin=True, stdout=True, stderr=True))
        return answer.url

    async def work() -> None:
        wanted = [Channel.STDIN, Channel.STDOUT, Channel.STDERR]
        async with await open_command(ask, wanted, tty=False) as one, await open_command(ask, wanted, tty=False) as two:
            seen = [asyncio.create_task(client.stdout.read()) for client in (one, two)]
            while not all(task.done() for task in seen):  # nobody tells when a client is really attached
                await one.send(b"hello\n")
                await asyncio.wait(seen, timeout=0.5)
            for task in seen:
                expect(task.result().startswith(b"got hello\n"), f"what came is {task.result()!r}")

    _run(work())
    same(bench.shell(container, "echo still here"), "still here\n", "the container afterwards")


@check("echo x | kubectl attach -i")
def attach_to_the_end_of_the_input(bench: Bench) -> None:
    """Attach lets a client go that has ended its input, where the container's stdin stays open for the next."""
    container = bench.start(bench.pod(), "sh", "-c", "while read line; do echo got $line; done", stdin=True)

    async def ask() -> str:
        return (await asyncio.to_thread(lambda: bench.cri.attach(container, stdin=True, stdout=True))).url

    async def work() -> None:
        async with await open_command(ask, [Channel.STDIN, Channel.STDOUT], tty=False) as command:
            await command.send(b"hello\n")
            command.finish()
            await command.stdout.read_all()
            same(await command.outcome(), Outcome(0), "the outcome")

    _run(work())
    same(bench.shell(container, "echo still here"), "still here\n", "the container afterwards")


@check("kubernetes#74551: one refused connection must not end the others")
def port_forward(bench: Bench) -> None:
    """PortForward says on the error stream of a connection that nobody listens, and goes on."""
    pod = bench.pod()
    bench.start(pod)

    async def ask() -> str:
        return (await asyncio.to_thread(bench.cri.port_forward, pod, [])).url

    async def work() -> None:
        async with await open_forward(ask) as forwarding:
            for port in (9, 10):
                connection = await forwarding.connect(port)
                with refused(f"a connection to port {port}, on which nobody listens", Code.UNAVAILABLE):
                    await connection.read()

    _run(work())
