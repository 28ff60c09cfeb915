"""Connects exec and attach to the standard streams of whoever typed the command."""

import asyncio
from collections.abc import Sequence
from typing import Any

from podwright.cli import terminal
from podwright.client.streaming import Ask, Command, Output, open_command
from podwright.wire.remote_command import Channel, Outcome


async def converse(ask: Ask, *, stdin: bool, tty: bool, detachable: bool = False) -> Outcome | None:
    """Lets the streams flow to the end of the command; None if the user has detached.

    `ask` asks the runtime for stdout, for stdin if wanted, and for stderr unless there is a terminal. Raises
    BrokenPipeError if nobody reads our output.
    """
    wanted: Sequence[Channel] = (
        *([Channel.STDIN] if stdin else []),
        Channel.STDOUT,
        *([] if tty else [Channel.STDERR]),
    )
    async with await open_command(ask, wanted, tty=tty) as command:
        if not tty:
            return await _flow(command, stdin=stdin, detach_keys=None)
        resizes: set[asyncio.Task[None]] = set()

        def resize() -> None:
            if known := terminal.size(0):
                task = asyncio.create_task(command.resize(width=known[0], height=known[1]))
                resizes.add(task)
                task.add_done_callback(resizes.discard)

        with terminal.raw_mode(0), terminal.on_resize(resize):
            resize()
            return await _flow(command, stdin=stdin, detach_keys=terminal.DetachKeys() if detachable else None)


async def _flow(command: Command, *, stdin: bool, detach_keys: terminal.DetachKeys | None) -> Outcome | None:
    output = asyncio.gather(_copy_out(command.stdout, 1), _copy_out(command.stderr, 2))
    typing = asyncio.create_task(_copy_in(command, detach_keys)) if stdin else None
    detached = asyncio.create_task(_detached(typing))
    either: set[asyncio.Future[Any]] = {output, detached}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not output.done():
            return None
        output.result()
        return await command.outcome()
    finally:
        for task in (output, typing, detached):
            if task is not None:
                task.cancel()


async def _detached(typing: "asyncio.Task[bool] | None") -> None:
    if typing is None or not await typing:
        await asyncio.Event().wait()


async def _copy_out(output: Output, number: int) -> None:
    while data := await output.read():
        await terminal.write_all(number, data)


async def _copy_in(command: Command, detach_keys: terminal.DetachKeys | None) -> bool:
    """Whether the user has typed the keys to detach."""
    try:
        async for data in terminal.read_chunks(0):
            sent, leaves = detach_keys.feed(data) if detach_keys else (data, False)
            await command.send(sent)
            if leaves:
                return True
        command.finish()
    except BrokenPipeError:
        pass  # the command reads no more, but may still write
    return False
