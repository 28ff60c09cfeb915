"""A registry as a pull sees it: several hosts that are tried in turn, until one answers.

A host that refuses (401, 403, 404 …) or lies about a digest is not asked again for that content; one that fails in
passing is, after the others, with growing pauses. Waits are the event loop's, requests run in threads of their own.
"""

import asyncio
import contextlib
import contextvars
import hashlib
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import urllib3

from podwright.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PodwrightError,
    Unauthenticated,
    Unavailable,
)
from podwright.images import credentials, hosts
from podwright.images.model import Credentials, ImageSettings
from podwright.images.transport import Host, Response, Transient
from podwright.wire import manifest
from podwright.wire.manifest import Descriptor
from podwright.wire.reference import Reference, is_digest

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_WAIT = 60.0
"""Seconds that a registry may ask us to wait (Retry-After)."""
_SMALLEST_READ = 8 << 10
_LARGEST_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index, as it came."""

    body: bytes
    digest: str
    media_type: str


class Http:
    """What all pulls share: a limit on open connections, and how long one may say nothing."""

    def __init__(self, settings: ImageSettings) -> None:
        self.settings = settings
        self.slots = asyncio.Semaphore(settings.connections)

    async def supervise(self, fetch: "Fetch") -> None:
        """Runs a fetch; gives it up when it stalls or the caller is cancelled. Raises as `Host.open`, and OSError."""
        loop = asyncio.get_running_loop()
        settings = self.settings
        running = asyncio.ensure_future(_in_thread(fetch.run))
        running.add_done_callback(lambda done: done.cancelled() or done.exception())  # we may be cancelled just then
        began = since = loop.time()
        mark = 0
        # Redirects, a token and the errors of either: a few answers, each of which may trickle.
        patience = 4 * (settings.connect_seconds + settings.answer_seconds)
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=min(1.0, settings.stall_seconds / 4))
                now = loop.time()
                if not fetch.answered:
                    if now - began > patience:
                        raise Transient(f"{fetch}: no answer in {patience:.0f} s")
                    since = now
                elif fetch.received - mark >= settings.stall_rate * (now - since):
                    mark, since = fetch.received, now
                elif now - since >= settings.stall_seconds:
                    fetch.give_up(f"it stalls: {fetch.received - mark} bytes in {now - since:.0f} s")
                    since = now
        finally:
            if not running.done():
                fetch.give_up("nobody waits for it any more")
                running.cancel()
        running.result()


async def _in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread that nobody waits for if the caller is cancelled: not even the end of the daemon."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(cast("T", result))
        else:
            done.set_exception(error)

    def body() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:  # noqa: BLE001  raised again in the caller's task
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=contextvars.copy_context().run, args=(body,), name="podwright-http", daemon=True).start()
    return await done


class Sink(Protocol):
    """Where the body of an answer goes. Called by a thread."""

    def begin(self, response: Response) -> None:
        """Looks at the head of the answer. May raise Transient, PodwrightError, OSError."""

    def take(self, data: bytes) -> bool:
        """Takes a piece of the body; returns whether more is wanted. May raise as `begin`."""

    def close(self) -> None:
        """There is no more, or it went wrong."""


class Fetch:
    """One GET (or HEAD). `run` belongs to a thread, the rest to the event loop."""

    def __init__(self, host: Host, path: str, headers: Mapping[str, str], sink: Sink, *, method: str = "GET") -> None:
        self._host, self._path, self._headers, self._sink, self._method = host, path, headers, sink, method
        self._response: Response | None = None
        self._given_up = ""
        self.answered = False
        self.received = 0

    def __str__(self) -> str:
        return f"{self._host}{self._path}"

    def give_up(self, why: str) -> None:
        """Makes `run` end soon, with Transient; does nothing if it has ended."""
        self._given_up = self._given_up or why
        response = self._response
        if response is not None:
            with contextlib.suppress(ValueError, RuntimeError, OSError):  # it has just ended
                response.shutdown()

    def _why(self, error: Exception) -> str:
        return self._given_up or str(error)

    def run(self) -> None:
        """Sends the request and hands the answer over. Raises as `Host.open` and as the sink."""
        if self._given_up:
            raise Transient(self._given_up)
        response = self._host.open(self._method, self._path, self._headers)
        self._response = response
        complete = False
        try:
            self._sink.begin(response)
            self.answered = True
            complete = self._read(response)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise Transient(f"{self}: {self._why(error)}") from error
        finally:
            self._response = None
            self._sink.close()
            if complete:
                response.release_conn()
            else:
                response.close()

    def _read(self, response: Response) -> bool:
        """Reads in pieces that take a fraction of a second each: large ones cost less, small ones show that a slow
        connection is alive. Returns whether nothing of the answer is left.
        """
        size = _SMALLEST_READ
        while True:
            before = time.monotonic()
            data = response.read(size, decode_content=False)
            if self._given_up:
                raise Transient(f"{self}: {self._given_up}")
            if not data:
                return True
            self.received += len(data)
            if not self._sink.take(data):
                return False
            took = time.monotonic() - before
            if took < 0.05:
                size = min(size * 2, _LARGEST_READ)
            elif took > 0.5:
                size = max(size // 2, _SMALLEST_READ)


class _Memory:
    """A sink for short documents."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.body = b""
        self.headers: Mapping[str, str] = {}

    def header(self, name: str) -> str:
        """The value of a header, named in lower case; empty if it is not there."""
        return self.headers.get(name, "")

    def begin(self, response: Response) -> None:
        self.headers = {name.lower(): value for name, value in response.headers.items()}

    def take(self, data: bytes) -> bool:
        self.body += data
        if len(self.body) > self._limit:
            raise InvalidArgument(f"the document has more than {self._limit} bytes")
        return True

    def close(self) -> None:
        pass


class Registry:
    """All hosts that may have a repository, for one pull. `close` it."""

    def __init__(self, http: Http, reference: Reference, hosts: list[Host]) -> None:
        self._http = http
        self.reference = reference
        self._hosts = hosts

    @classmethod
    async def find(cls, http: Http, reference: Reference, given: Credentials | None) -> "Registry":
        """Reads hosts.toml and looks up credentials. Raises FailedPrecondition, InvalidArgument."""
        settings = http.settings
        found = []
        for endpoint in await asyncio.to_thread(hosts.endpoints, reference.registry, settings):
            account = await credentials.find(endpoint.host, reference.registry, reference.repository, given, settings)
            host = await asyncio.to_thread(Host, endpoint, reference.registry, reference.repository, account, settings)
            found.append(host)
        return cls(http, reference, found)

    def close(self) -> None:
        """Closes idle connections."""
        for host in self._hosts:
            host.close()

    async def describe(self, version: str) -> Document:
        """What a tag or digest means now, by a request that registries do not count as a pull. It has no body, and no
        digest either if the registry does not tell. Raises as `blob`.
        """
        asked, path = self._who(version)
        found = await self._document(asked, path, ", ".join(manifest.ACCEPT), method="HEAD")
        digest = found.header("docker-content-digest")
        return Document(b"", digest if is_digest(digest) else "", found.header("content-type"))

    async def manifest(self, version: str) -> Document:
        """A manifest or index by tag or digest. Raises as `blob`."""
        by_digest = is_digest(version)
        asked, path = self._who(version)
        found = await self._document(asked, path, ", ".join(manifest.ACCEPT), digest=version if by_digest else "")
        digest = version if by_digest else digest_of(found.body)
        return Document(found.body, digest, found.header("content-type"))

    def _who(self, version: str) -> tuple[list[Host], str]:
        """The hosts that may say what a tag or digest is, and the path to ask for."""
        asked = [host for host in self._hosts if (host.endpoint.pull if is_digest(version) else host.endpoint.resolve)]
        return asked, f"/manifests/{version}"

    async def blob(self, descriptor: Descriptor) -> bytes:
        """A short blob, such as a configuration.

        Raises what the last host that was asked says: NotFound, Unauthenticated, PermissionDenied, FailedPrecondition,
        or Unavailable with the reason RegistryUnavailable.
        """
        asked = [host for host in self._hosts if host.endpoint.pull]
        found = await self._document(asked, f"/blobs/{descriptor.digest}", "", digest=descriptor.digest)
        return found.body

    async def _document(
        self, asked: list[Host], path: str, accept: str, *, digest: str = "", method: str = "GET"
    ) -> _Memory:
        async def ask(host: Host) -> _Memory:
            memory = _Memory(manifest.LARGEST_DOCUMENT)
            headers = {"Accept": accept} if accept else {}
            await self.fetch(Fetch(host, path, headers, memory, method=method))
            if digest and digest_of(memory.body, digest.partition(":")[0]) != digest:
                raise Lie(f"{host}{path}: the content has another digest")
            return memory

        return await self.try_hosts(Turns(asked, self._http.settings), path, ask)

    async def fetch(self, fetch: Fetch) -> None:
        """Runs a fetch when a connection is free."""
        async with self._http.slots:
            await self._http.supervise(fetch)

    def turns(self, liars: Collection[Host] = ()) -> "Turns":
        """The hosts to ask for a blob, in their order, without those that have sent something else."""
        turns = Turns([host for host in self._hosts if host.endpoint.pull], self._http.settings)
        for host in liars:
            turns.refused(host, Lie(f"{host}: the blob has another digest"))
        return turns

    async def try_hosts(self, turns: "Turns", what: str, work: Callable[[Host], Awaitable[T]]) -> T:
        """Lets `work` do it with one host after the other until it succeeds. Raises as `blob`."""
        while True:
            host = turns.host(what, str(self.reference))
            try:
                return await work(host)
            except Transient as error:
                pause = turns.passing(host, error)
                logger.info("pull of %s: %s; trying again in %.1f s", self.reference, error, pause)
                await asyncio.sleep(pause)
            except (NotFound, Unauthenticated, PermissionDenied, FailedPrecondition, Unavailable) as error:
                logger.info("pull of %s: %s", self.reference, error)
                turns.refused(host, error)


class Lie(FailedPrecondition):
    """A host sends something else than was asked for."""


class Turns:
    """Whose turn it is: hosts in their order, without those that refused, round after round."""

    def __init__(self, hosts: list[Host], settings: ImageSettings) -> None:
        self._left = list(hosts)
        self._last = hosts[-1] if hosts else None
        self._settings = settings
        self._round = 0
        self._next = 0
        self._waits: dict[Host, float] = {}
        self._errors: dict[Host, Exception] = {}

    def host(self, what: str, reference: str) -> Host:
        """Whose turn it is. Raises what the last host said, if there is none or the rounds are over."""
        if self._left and self._round < self._settings.attempts:
            return self._left[self._next % len(self._left)]
        raise self._verdict(what, reference)

    def gained(self) -> None:
        """Something came of it: the rounds are counted anew."""
        self._round = 0

    def refused(self, host: Host, error: PodwrightError) -> None:
        """The host shall not be asked again."""
        self._errors[host] = error
        self._next = self._left.index(host)
        self._left.remove(host)
        self._end_of_round()

    def passing(self, host: Host, error: Transient) -> float:
        """The next one's turn; returns the seconds to wait before."""
        self._errors[host] = error
        if error.wait > _LONGEST_WAIT:
            self._left.remove(host)
            return 0
        self._waits[host] = time.monotonic() + error.wait
        self._next = self._left.index(host) + 1
        pause = 0.0
        if self._end_of_round() and self._round < self._settings.attempts:
            pause = self._settings.first_pause * 2 ** (self._round - 1)
            pause = min(self._settings.longest_pause, pause) * random.uniform(0.5, 1.5)
        if self._left and self._round < self._settings.attempts:
            due = self._waits.get(self._left[self._next % len(self._left)], 0) - time.monotonic()
            pause = max(pause, due)
        return pause

    def _end_of_round(self) -> bool:
        if self._next < len(self._left):
            return False
        self._next = 0
        self._round += 1
        return True

    def _verdict(self, what: str, reference: str) -> PodwrightError:
        """The failure of the last host, which is the registry itself, with what the others said."""
        said = [str(error).removeprefix("RegistryUnavailable: ") for error in self._errors.values()]
        words = "; ".join(said) or "no host may be asked for it"
        message = f"cannot pull {reference!r}: {words}"
        error = self._errors.get(self._last) if self._last else None
        if isinstance(error, PodwrightError):
            reason = "RegistryUnavailable" if isinstance(error, Unavailable) else ""
            kind = FailedPrecondition if isinstance(error, Lie) else type(error)
            return kind(message, reason=reason)
        logger.debug("no host has %s", what)
        return Unavailable(message, reason="RegistryUnavailable")


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    """The digest of a document."""
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def file_digest(path: str, like: str) -> str:
    """The digest of a file, by the algorithm of the digest `like`. Blocking."""
    algorithm = like.partition(":")[0]
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
