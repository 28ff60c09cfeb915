"""Attachments of sandboxes to their network, which outlive the daemon: no address is lost.

A row in the store precedes each ADD, on the disk, and holds the very configuration and arguments, so that DEL is told
the same whatever has become of the file since:

    (none) ──row──► adding ──ADD──► attached ──► leaving ──DEL──► (none)
                       └──ADD fails, or the daemon dies──▲ └──DEL fails──┐
                                                         └───later───────┘

DEL is repeated with growing pauses until it succeeds, over restarts too. One sandbox's calls follow one another;
those of several never wait for each other, but for GC (collect.py).

A cancelled caller changes nothing: what has begun goes on to its end.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

import msgspec

from podwright.errors import AlreadyExists, Internal, NotFound, PodwrightError, Unavailable
from podwright.network import result, template
from podwright.network.cni import Cni, LostRace
from podwright.network.collect import Collector, Traffic
from podwright.network.config import Configurations, NetworkConfig, Settings
from podwright.network.orphans import end_orphans
from podwright.network.readiness import NetworkStatus, Readiness
from podwright.network.request import AttachRequest, Call, make_call
from podwright.network.result import Attachment
from podwright.state.store import Store, Value
from podwright.trace import step

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BACKGROUND = 8
"""How many DELs that nobody waits for may run at once."""

_UNDONE = 100
"""With so many ADDs that failed and cannot be undone, no further one is tried: kubelets would try for ever."""


_RACES = 8
"""How often an ADD may lose against others: once for each of the chains that portmap makes for both families."""


class _Entry:
    """A row in memory."""

    __slots__ = ("attachment", "call", "leaving", "lock", "result", "retrying")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.result: dict[str, Any] | None = None
        """What ADD returned; told to DEL."""
        self.attachment: Attachment | None = None
        """What that means, while the sandbox is attached."""
        self.leaving = False
        """It has to be detached, sooner or later."""
        self.retrying = False
        """A task repeats DEL until it succeeds."""
        self.lock = asyncio.Lock()
        """Held while plugins run for the sandbox."""

    @property
    def sandbox_id(self) -> str:
        return self.call.container_id


class Network:
    """The network side of the runtime."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self.settings = settings
        self._configurations = Configurations(settings)
        self._cni = Cni(settings)
        self._entries: dict[str, _Entry] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._traffic = Traffic()
        self._background = asyncio.Semaphore(_BACKGROUND)
        self._readiness = Readiness(self._configurations, self._cni, self._spawn, settings.pace.status_age)
        self._warned_of: NetworkConfig | None = None
        """The configuration that was last found to ignore host ports."""

    def status(self) -> NetworkStatus:
        """Whether pods can be attached. On the event loop; cheap enough for every five seconds."""
        return self._readiness.look()

    def get(self, sandbox_id: str) -> Attachment | None:
        """The attachment of a sandbox; None if it has none, or none yet, or no longer."""
        entry = self._entries.get(sandbox_id)
        return entry.attachment if entry else None

    def holds(self, sandbox_id: str) -> bool:
        """Whether the sandbox is attached, or has yet to be detached: plugins clean up better in its namespace."""
        return sandbox_id in self._entries

    async def start(self, live_sandbox_ids: AbstractSet[str]) -> None:
        """Takes up what an earlier daemon left: attachments of live sandboxes go on, all others are being detached
        when it returns, and garbage collection begins.
        """
        for sandbox_id, call, answer, leaving in self._store.read(
            "SELECT sandbox, call, result, leaving FROM attachment"
        ):
            try:
                entry = _decode(call, answer)
            except ValueError:
                logger.exception("attachment of sandbox %s cannot be read and is left alone", sandbox_id)
                continue
            self._entries[entry.sandbox_id] = entry
            if leaving or entry.attachment is None or sandbox_id not in live_sandbox_ids:
                entry.attachment, entry.leaving = None, True
                self._spawn(self._release_left_over(entry))
        collector = Collector(self._cni, self._traffic, self.settings.pace, self._network, self._valid)
        self._spawn(collector.run_for_ever())
        self._readiness.look()  # asks plugins that want to be asked before the first kubelet does

    async def close(self) -> None:
        """Ends the background work; plugins under way are killed, and the next start takes care of the rest."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def attach(self, request: AttachRequest) -> Attachment:
        """Attaches a sandbox, under an id that was never attached before.

        If it fails, DEL has been called, and is repeated later if that failed too. Raises

        - InvalidArgument: a field or annotation makes no sense;
        - Unavailable: no configuration yet, a plugin not installed, one that says "later", or too many failures that
          could not be undone;
        - FailedPrecondition: a broken configuration, or one that its plugins refuse;
        - ResourceExhausted: no address left;
        - DeadlineExceeded: the plugins took too long and were killed;
        - Internal: a plugin failed otherwise.
        """
        network = await self._network()
        call = make_call(request, network)
        self._warn_of_ports(request, network)
        self._limit_undone(network)
        if request.sandbox_id in self._entries:
            raise AlreadyExists(f'sandbox "{request.sandbox_id}" has been attached to a network before')
        entry = self._entries[request.sandbox_id] = _Entry(call)
        return await asyncio.shield(self._spawn(self._attach(entry)))

    async def detach(self, sandbox_id: str) -> None:
        """Gives back what the sandbox has of its network; does nothing if it has nothing.

        Failures are logged, remembered and tried again in the background, never raised: a pod must not be kept from
        ending by its network. The namespace may be gone already.
        """
        entry = self._entries.get(sandbox_id)
        if entry:
            await asyncio.shield(self._spawn(self._release(entry)))

    async def check(self, sandbox_id: str) -> None:
        """Asks the plugins whether the sandbox's network is as they made it (the verb CHECK); raises what they say.

        Raises NotFound if the sandbox is not attached.
        """
        entry = self._entries.get(sandbox_id)
        if entry is None or entry.attachment is None:
            raise NotFound(f'sandbox "{sandbox_id}" is not attached to a network')
        async with entry.lock:
            await self._cni.check(entry.call, entry.attachment.result)

    async def update_pod_cidr(self, cidrs: str) -> None:
        """Takes the node's pod CIDR or CIDRs; see template.py."""
        await asyncio.to_thread(template.update_pod_cidr, self.settings, cidrs)

    async def _network(self) -> NetworkConfig:
        """The configuration in force, of one version."""
        return await self._cni.negotiate(await asyncio.to_thread(self._configurations.current))

    async def _attach(self, entry: _Entry) -> Attachment:
        async with entry.lock, self._traffic.moving():
            await self._insert(entry)
            try:
                with step("network.add", entry.sandbox_id):
                    entry.result = await self._add(entry.call)
                attachment = _understand(entry.call, entry.result)
                await self._write_result(entry)
            except Exception as error:
                await self._undo(entry, error)
                raise
            entry.attachment = attachment
        return attachment

    async def _add(self, call: Call) -> dict[str, Any]:
        for _ in range(_RACES):
            try:
                return await self._cni.add(call)
            except LostRace as error:
                # No second ADD without a DEL (CNI specification, section 2, "ADD").
                try:
                    await self._cni.delete(call, None)
                except (PodwrightError, OSError):
                    raise error from None  # that is the cause; who undoes it will tell of the other
                logger.info("tried again: %s", error)
        return await self._cni.add(call)

    async def _undo(self, entry: _Entry, cause: Exception) -> None:
        try:
            await self._delete(entry)
        except (PodwrightError, OSError) as error:
            cause.add_note(f"DEL failed too and will be repeated: {error}")
            self._retry(entry)

    async def _release(self, entry: _Entry) -> bool:
        """Detaches; after a failure sees to it that it is repeated and returns False."""
        async with entry.lock, self._traffic.moving():
            if self._entries.get(entry.sandbox_id) is not entry:
                return True
            try:
                await self._delete(entry)
            except (PodwrightError, OSError) as error:
                logger.warning("not detached, will be repeated: %s", error)
                self._retry(entry)
                return False
            return True

    async def _delete(self, entry: _Entry) -> None:
        """Runs DEL and forgets the entry; its lock and the traffic are held."""
        entry.attachment, entry.leaving = None, True
        await self._store.write(("UPDATE attachment SET leaving = 1 WHERE sandbox = ?", (entry.sandbox_id,)))
        with step("network.del", entry.sandbox_id):
            await self._cni.delete(entry.call, entry.result)
        await self._store.write(("DELETE FROM attachment WHERE sandbox = ?", (entry.sandbox_id,)))
        del self._entries[entry.sandbox_id]

    def _retry(self, entry: _Entry) -> None:
        if not entry.retrying:
            entry.retrying = True
            self._spawn(self._release_at_last(entry))

    async def _release_at_last(self, entry: _Entry) -> None:
        pace = self.settings.pace
        delay = pace.retry_first
        while True:
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))  # many that fail together should not stay so
            async with self._background:
                if await self._release(entry):
                    return
            delay = min(2 * delay, pace.retry_most)

    async def _release_left_over(self, entry: _Entry) -> None:
        async with self._background:
            await asyncio.to_thread(end_orphans, entry.sandbox_id)
            await self._release(entry)

    async def _insert(self, entry: _Entry) -> None:
        row = (entry.sandbox_id, msgspec.json.encode(entry.call))
        try:
            await self._store.write(("INSERT INTO attachment (sandbox, call) VALUES (?, ?)", row), durable=True)
        except PodwrightError:
            del self._entries[entry.sandbox_id]
            raise

    async def _write_result(self, entry: _Entry) -> None:
        row = (msgspec.json.encode(entry.result), entry.sandbox_id)
        await self._store.write(("UPDATE attachment SET result = ? WHERE sandbox = ?", row))

    def _valid(self, network: NetworkConfig) -> list[Call]:
        """The attachments to a network that plugins must not collect."""
        calls = [entry.call for entry in self._entries.values() if not entry.leaving]
        return [call for call in calls if call.network.name == network.name]

    def _limit_undone(self, network: NetworkConfig) -> None:
        undone = [e for e in self._entries.values() if e.retrying and e.result is None]
        if sum(entry.call.network.name == network.name for entry in undone) >= _UNDONE:
            raise Unavailable(
                f"{network.title}: {_UNDONE} attachments failed and could not be undone; they are tried again at "
                f"least every {self.settings.pace.retry_most:g} seconds, and new ones wait for that: see the log"
            )

    def _warn_of_ports(self, request: AttachRequest, network: NetworkConfig) -> None:
        if request.wants_host_ports and not network.declares("portMappings") and self._warned_of != network:
            self._warned_of = network
            logger.warning(
                "%s: no plugin declares the capability portMappings, so host ports are left to the network itself; "
                "pod %s/%s is the first to want some",
                network.title,
                request.namespace,
                request.name,
            )

    def _spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Starts work that nobody's cancellation ends but close()."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error and not isinstance(error, PodwrightError):  # those are the caller's, and have been logged by step()
            logger.error("network: unexpected failure", exc_info=error)


def _understand(call: Call, answer: dict[str, Any]) -> Attachment:
    try:
        return result.parse(answer, call.ifname)
    except ValueError as error:
        sandbox = f'sandbox "{call.container_id}": {call.network.title}'
        raise Internal(f"{sandbox}: {error}: {msgspec.json.encode(answer)[:2000].decode(errors='replace')}") from None


def _decode(call: Value, answer: Value) -> _Entry:
    """An entry of a row's columns. Raises ValueError."""
    assert isinstance(call, bytes)
    entry = _Entry(msgspec.json.decode(call, type=Call))
    if isinstance(answer, bytes):
        entry.result = msgspec.json.decode(answer, type=dict[str, Any])
        entry.attachment = result.parse(entry.result, entry.call.ifname)
    return entry
