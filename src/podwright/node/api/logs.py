"""/containerLogs: what a container has written, and what it is writing."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from podwright.errors import NotFound
from podwright.node.api.http import Exchange, HttpError
from podwright.node.observed import Observed, SeenContainer
from podwright.node.worker import Worker
from podwright.pods.check import all_containers
from podwright.pods.logfile import Entry, Follower, read
from podwright.wire.cri_log import Malformed, format_time, parse_time

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5  # seconds between two looks at a log
_STATUSES: Final = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
_FAILED_PULLS: Final = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


@dataclass(slots=True)
class _Filter:
    """What of a log was asked for (PodLogOptions)."""

    tail: int | None
    since: int
    timestamps: bool
    stream: str
    limit: int | None
    """Bytes that may still be sent."""

    def rendered(self, entries: Iterable[Entry]) -> bytes:
        """The entries as text."""
        pieces = []
        for entry in entries:
            if (
                isinstance(entry, Malformed)
                or entry.time_ns < self.since
                or self.stream not in {"All", entry.stream.capitalize()}
            ):
                continue
            head = f"{format_time(entry.time_ns)} ".encode() if self.timestamps else b""
            pieces.append(head + entry.text + b"\n")
        data = b"".join(pieces)
        if self.limit is not None:
            data = data[: self.limit]
            self.limit -= len(data)
        return data


async def container_logs(exchange: Exchange, worker: Worker, observed: Observed, container: str) -> None:
    """Answers with the log. Raises HttpError."""
    wanted = _filter(exchange)
    found = _container(exchange, worker, observed, container)
    path = found.status.log_path
    follows = exchange.flag("follow")
    try:
        if not follows:
            data = await asyncio.to_thread(lambda: wanted.rendered(read(path, wanted.tail)))
            await exchange.answer(data)
            return
        follower = await asyncio.to_thread(Follower, path, wanted.tail)
    except NotFound as error:
        raise HttpError(404, str(error)) from None
    await exchange.begin("text/plain; charset=utf-8", headers=[("Connection", "close")])
    await _follow(exchange, worker, observed, found, follower, wanted)
    await exchange.end()


async def _follow(
    exchange: Exchange, worker: Worker, observed: Observed, found: SeenContainer, follower: Follower, wanted: _Filter
) -> None:
    pause, last = _FIRST_PAUSE, False
    tail = wanted.tail
    gone = asyncio.ensure_future(exchange.reader.read(1))  # a client that leaves closes its side
    try:
        while wanted.limit is None or wanted.limit > 0:
            entries = await asyncio.to_thread(lambda: list(follower.poll()))
            if tail is not None:  # the look began early enough for them, maybe earlier
                entries, tail = entries[len(entries) - min(tail, len(entries)) :], None
            data = wanted.rendered(entries)
            if data:
                await exchange.send(data)
                pause = _FIRST_PAUSE
            if last or gone.done():
                break
            now = {container.id for container in observed.pod(worker.pod.uid).running}
            last = found.id not in now
            await asyncio.wait([gone], timeout=_FIRST_PAUSE if last else pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if not gone.done():
            await exchange.send(await asyncio.to_thread(lambda: wanted.rendered(list(follower.finish()))))
    finally:
        gone.cancel()


def _filter(exchange: Exchange) -> _Filter:
    since = 0
    if text := exchange.first("sinceTime"):
        parsed = parse_time(text)
        if parsed is None:
            raise HttpError(400, f'sinceTime: "{text}" is no time')
        since = parsed
    elif (seconds := _number(exchange, "sinceSeconds")) is not None:
        since = time.time_ns() - seconds * 10**9
    stream = exchange.first("stream", "All") or "All"
    if stream not in {"All", "Stdout", "Stderr"}:
        raise HttpError(400, f'stream: "{stream}" is none of All, Stdout and Stderr')
    return _Filter(
        tail=_number(exchange, "tailLines"),
        since=since,
        timestamps=exchange.flag("timestamps"),
        stream=stream,
        limit=_number(exchange, "limitBytes"),
    )


def _number(exchange: Exchange, name: str) -> int | None:
    text = exchange.first(name)
    if not text:
        return None
    if not text.isdigit():
        raise HttpError(400, f'{name}: "{text}" is no number')
    return int(text)


def _container(exchange: Exchange, worker: Worker, observed: Observed, name: str) -> SeenContainer:
    if name not in {item.name for _, item in all_containers(worker.pod.pod)}:
        raise HttpError(404, f'container "{name}" not found in pod "{worker.pod.name}"')
    wanted = _wanted(worker, name, previous=exchange.flag("previous"))
    found = next((item for item in observed.pod(worker.pod.uid).containers if item.id == wanted), None)
    if found is None:
        raise HttpError(404, f'container "{name}" in pod "{worker.pod.name}" is gone: {wanted}')
    return found


def _wanted(worker: Worker, name: str, *, previous: bool) -> str:
    """The id of the container whose log is meant, by what the status says of it: one that waits to be started again
    has the log of the one before (validateContainerLogStatus of pkg/kubelet/kubelet_pods.go). Raises HttpError."""
    where = f'container "{name}" in pod "{worker.pod.name}"'
    shown = next((item for key in _STATUSES for item in worker.last_status.get(key, ()) if item["name"] == name), None)
    if shown is None:
        raise HttpError(400, f"{where} is not available")
    last: str = shown["lastState"].get("terminated", {}).get("containerID", "")
    if previous and not last:
        raise HttpError(400, f"previous terminated {where} not found")
    waiting = shown["state"].get("waiting")
    if waiting is not None and not last:
        reason = _FAILED_PULLS.get(waiting["reason"], waiting["reason"])
        raise HttpError(400, f"{where} is waiting to start: {reason}")
    wanted: str = last if previous or waiting is not None else shown["containerID"]
    return wanted.partition("://")[2]
