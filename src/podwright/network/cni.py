"""Runs of CNI plugins: one verb over a chain (CNI specification 1.1, sections 2 and 3).

A verb's time-out is for the whole chain and belongs to the verb, not to who asked. Owns no records, no retries and no
order between attachments: attachments.py does. Each error says sandbox, network, plugin and verb, and the plugin's
own words.
"""

import asyncio
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from podwright.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    PodwrightError,
    ResourceExhausted,
    Unavailable,
)
from podwright.kernel import namespaces
from podwright.kernel.run import Finished, run
from podwright.network.config import VERSIONS, NetworkConfig, Settings, find_plugin
from podwright.network.request import Call

logger = logging.getLogger(__name__)

Result = dict[str, Any]

_OUTPUT_LIMIT = 1 << 20

_KINDS: Mapping[int, type[PodwrightError]] = {
    1: FailedPrecondition,  # incompatible CNI version
    2: FailedPrecondition,  # unsupported field in the configuration
    3: NotFound,  # container unknown: nothing to clean up either
    7: FailedPrecondition,  # invalid configuration
    11: Unavailable,  # try again later
    50: Unavailable,  # cannot serve ADD
    51: Unavailable,  # the same, and attached pods may be cut off
}
"""What the specification's error codes mean to our callers; all others are Internal."""

_EXHAUSTED = (
    "no IP addresses available in range set",  # host-local
    "Could not allocate IP in range",  # whereabouts
    "o more free affine blocks",  # calico-ipam
    "failed to assign an IP address to container",  # aws-cni
)
"""How address management says that it has run out: there is no code for it."""

_RACES = (
    "CHAIN_USER_ADD failed (File exists)",  # iptables over nftables
    "Chain already exists",  # iptables of old
)
"""How a plugin says that another run of it made what both share (portmap: its chains) in the same moment: it looks
first and makes then. Only the first pods with host ports after a boot can meet it.
"""


class LostRace(Internal):
    """ADD failed for another ADD beside it; a further one finds what that made."""


@dataclass(frozen=True, slots=True)
class _Chain:
    """A verb on its way through the plugins of a network."""

    verb: str
    network: NetworkConfig
    call: Call | None
    """None for verbs that are about the network as a whole."""
    seconds: float
    deadline: float
    """When `seconds` are over, in the event loop's time."""

    @classmethod
    def begin(cls, verb: str, network: NetworkConfig, seconds: float, call: Call | None = None) -> "_Chain":
        """Starts the clock."""
        return cls(verb, network, call, seconds, asyncio.get_running_loop().time() + seconds)

    def doing(self, plugin: Mapping[str, Any]) -> str:
        """The beginning of messages."""
        sandbox = f'sandbox "{self.call.container_id}": ' if self.call else ""
        return f'{sandbox}{self.network.title}: plugin "{plugin["type"]}", {self.verb}'

    def environment(self, directories: Sequence[str]) -> dict[str, str]:
        """The protocol's parameters (section 2)."""
        environment = {"CNI_COMMAND": self.verb, "CNI_PATH": ":".join(directories)}
        if self.call:
            environment |= {
                "CNI_CONTAINERID": self.call.container_id,
                "CNI_NETNS": self.call.netns,
                "CNI_IFNAME": self.call.ifname,
                "CNI_ARGS": ";".join(f"{key}={value}" for key, value in self.call.args.items()),
            }
        return environment


class Cni:
    """The plugins of this host."""

    def __init__(self, settings: Settings) -> None:
        self._directories = settings.plugin_dirs
        self._pace = settings.pace
        self._spoken: dict[tuple[str, int], frozenset[str]] = {}
        """Versions by a plugin's path and time of change."""

    async def negotiate(self, network: NetworkConfig) -> NetworkConfig:
        """The network with one version only: the highest that it is written for and that all its plugins speak.

        Plugins are asked where there is a choice, and before they are asked for anything new of 1.1, which older ones
        answer beside the point. Raises FailedPrecondition if no version is common to all, and what a run of VERSION
        raises.
        """
        if len(network.versions) == 1 and not network.at_least("1.1.0"):
            return network
        common = network.versions
        for plugin in network.plugins:
            spoken = await self._versions(network, plugin)
            common = tuple(version for version in common if version in spoken)
            if not common:
                raise FailedPrecondition(
                    f"{network.title}: it is written for CNI {', '.join(network.versions)}, but plugin "
                    f'"{plugin["type"]}" speaks {", ".join(sorted(spoken))}: install a newer one'
                )
        return msgspec.structs.replace(network, versions=common[-1:])

    async def add(self, call: Call) -> Result:
        """Attaches; returns the last plugin's result. After a failure the caller has to `delete`."""
        chain = _Chain.begin("ADD", call.network, self._pace.add, call)
        result: Result | None = None
        for plugin in call.network.plugins:
            output = await self._run(chain, plugin, _attachment_config(call, plugin, result))
            try:
                result = _json_object(output)
            except ValueError as error:
                raise Internal(f"{chain.doing(plugin)}: printed no result: {error}") from None
        assert result is not None
        return result

    async def delete(self, call: Call, result: Result | None) -> None:
        """Detaches, the last plugin first; stops at the first that fails. Succeeds where nothing is left.

        `result` is what `add` returned, if it got that far. If not, plugins that refuse the configuration as such
        have refused it at ADD too, and have nothing to undo. Plugins are told no namespace if it has vanished.
        """
        if not namespaces.is_pinned(call.netns):
            call = msgspec.structs.replace(call, netns="")
        chain = _Chain.begin("DEL", call.network, self._pace.delete, call)
        known = result if call.network.at_least("0.4.0") else None
        for plugin in reversed(call.network.plugins):
            try:
                await self._run(chain, plugin, _attachment_config(call, plugin, known))
            except NotFound as error:
                logger.debug("%s", error)
            except FailedPrecondition as error:
                if result is not None:
                    raise
                logger.info("nothing to undo: %s", error)

    async def check(self, call: Call, result: Result) -> None:
        """Asks whether an attachment is as `add` left it; raises if not. Does nothing where the network forbids or
        its version lacks CHECK.
        """
        if call.network.disable_check or not call.network.at_least("0.4.0"):
            return
        chain = _Chain.begin("CHECK", call.network, self._pace.ask, call)
        for plugin in call.network.plugins:
            await self._run(chain, plugin, _attachment_config(call, plugin, result))

    async def status(self, network: NetworkConfig) -> None:
        """Asks whether the plugins could attach a pod; raises if not. For networks of version 1.1 and up."""
        chain = _Chain.begin("STATUS", network, self._pace.ask)
        for plugin in network.plugins:
            await self._run(chain, plugin, _network_config(network, plugin))

    async def collect(self, network: NetworkConfig, valid: Sequence[Call]) -> None:
        """GC: lets the plugins free what belongs to none of the attachments `valid`. For version 1.1 and up.

        No ADD or DEL may run meanwhile (section 3, Lifecycle & Ordering). Every plugin gets its turn; then the
        failures are raised together as Internal.
        """
        chain = _Chain.begin("GC", network, self._pace.collect)
        attachments = [{"containerID": call.container_id, "ifname": call.ifname} for call in valid]
        # The second name stood in the specification's text by mistake, and plugins were written by it.
        keys = {"cni.dev/valid-attachments": attachments, "cni.dev/attachments": attachments}
        failures: list[str] = []
        for plugin in network.plugins:
            try:
                await self._run(chain, plugin, {**_network_config(network, plugin), **keys})
            except PodwrightError as error:
                failures.append(str(error))
        if failures:
            raise Internal("; ".join(failures))

    async def _versions(self, network: NetworkConfig, plugin: Mapping[str, Any]) -> frozenset[str]:
        path = find_plugin(network, plugin["type"], self._directories)
        try:
            key = (path, os.stat(path).st_mtime_ns)
        except OSError as error:  # it was there a moment ago: an upgrade
            raise Unavailable(f'{network.title}: plugin "{plugin["type"]}": {path}: {error.strerror}') from error
        if key not in self._spoken:
            chain = _Chain.begin("VERSION", network, self._pace.ask)
            output = await self._run(chain, plugin, {"cniVersion": VERSIONS[-1]})
            try:
                self._spoken[key] = frozenset(_json_object(output)["supportedVersions"])
            except (ValueError, KeyError, TypeError):
                raise Internal(f"{chain.doing(plugin)}: no versions in {_excerpt(output)}") from None
        return self._spoken[key]

    async def _run(self, chain: _Chain, plugin: Mapping[str, Any], config: Mapping[str, Any]) -> bytes:
        """Runs one plugin with the configuration on its standard input; returns what it prints."""
        doing = chain.doing(plugin)
        path = find_plugin(chain.network, plugin["type"], self._directories)
        try:
            finished = await run(
                [path],
                stdin=json.dumps(config).encode(),
                environment=chain.environment(self._directories),
                limit=_OUTPUT_LIMIT,
                timeout=max(0.0, chain.deadline - asyncio.get_running_loop().time()),
            )
        except DeadlineExceeded:
            raise DeadlineExceeded(f"{doing}: did not end within {chain.seconds:g} seconds and was killed") from None
        except Internal as error:
            raise Internal(f"{doing}: {error}") from None
        if finished.status != 0:
            raise _failure(doing, finished)
        if finished.stderr:
            logger.debug("%s: %s", doing, _excerpt(finished.stderr))
        return finished.stdout


def _network_config(network: NetworkConfig, plugin: Mapping[str, Any]) -> dict[str, Any]:
    """What a plugin reads, "Deriving request configuration" in section 3, as far as all verbs have it in common."""
    config = {key: value for key, value in plugin.items() if key != "capabilities"}
    return {**config, "cniVersion": network.version, "name": network.name}


def _attachment_config(call: Call, plugin: Mapping[str, Any], previous: Result | None) -> dict[str, Any]:
    config = _network_config(call.network, plugin)
    declared = plugin.get("capabilities", {})
    taken = {key: value for key, value in call.capabilities.items() if declared.get(key)}
    if taken:
        config["runtimeConfig"] = taken
    if previous is not None:
        config["prevResult"] = previous
    return config


def _failure(doing: str, finished: Finished) -> PodwrightError:
    """The plugin's error object ("Error" in section 5), or whatever it said instead, as one of our kinds."""
    try:
        error = _json_object(finished.stdout)
        code = int(error["code"])
        words = ": ".join(str(error[key]) for key in ("msg", "details") if error.get(key))
    except (ValueError, KeyError, TypeError):
        said = finished.stderr.strip() or finished.stdout.strip()
        ending = f"status {finished.status}" if finished.status > 0 else f"killed by signal {-finished.status}"
        return Internal(f"{doing}: {ending}, no error object, {_excerpt(said) if said else 'no output'}")
    kind = _KINDS.get(code, Internal)
    if any(phrase in words for phrase in _EXHAUSTED):
        kind = ResourceExhausted
    elif any(phrase in words for phrase in _RACES):
        kind = LostRace
    return kind(f"{doing}: {words} (CNI error {code})")


def _json_object(output: bytes) -> dict[str, Any]:
    """Raises ValueError, with the output in its message."""
    try:
        document = json.loads(output)
    except ValueError as error:
        raise ValueError(f"{error} in {_excerpt(output)}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{_excerpt(output)} is no JSON object")
    return document


def _excerpt(output: bytes) -> str:
    return json.dumps(output[-2000:].decode(errors="replace").strip(), ensure_ascii=False)
