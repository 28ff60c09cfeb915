"""The network configuration: which file of the directory counts, and what it says.

The first file by name counts, and it alone (containerd). Where it is broken, pods wait and the error names it: the
next file may be another network, as podman's, and pods in a wrong network are worse than pods that wait. Where the
settings name a network, the first file with that name counts; broken ones are told of only if none has it.

Directories are looked at again whenever somebody asks; what names, inodes, sizes and times of the files say decides
whether they are read again. There is no watch, which would end with the directory that it watches.

Owns no runs of plugins.
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from podwright.errors import FailedPrecondition, PodwrightError, Unavailable

logger = logging.getLogger(__name__)

VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""The versions of the CNI specification that we speak, oldest first."""

EXTENSIONS = (".conf", ".conflist", ".json")

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take and when they are tried again; all in seconds."""

    add: float = 240.0
    """A whole chain of ADDs: as long as kubelets wait for RunPodSandbox, twice their runtimeRequestTimeout."""
    delete: float = 60.0
    """A whole chain of DELs."""
    collect: float = 60.0
    """A whole chain of GCs; attaching and detaching wait meanwhile."""
    ask: float = 10.0
    """A chain of STATUS or CHECK, or a VERSION."""
    status_age: float = 4.0
    """STATUS is asked again when somebody wants to know and the answer is older; kubelets want to every 5 s."""
    retry_first: float = 1.0
    """A failed DEL is repeated after this time, then after twice as long, and so on,"""
    retry_most: float = 300.0
    """but at least this often."""
    collect_every: float = 3600.0
    collect_retry: float = 60.0
    """The same where there was no configuration, or GC failed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator says of networks."""

    config_dir: str = "/etc/cni/net.d"
    plugin_dirs: tuple[str, ...] = ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni")
    network: str = ""
    """The name of the network to use. Empty: the one in the first file."""
    template: str = ""
    """A file to make a configuration of when the kubelet tells the pod CIDR; see template.py. Empty: none."""
    pace: Pace = field(default_factory=Pace)


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A network configuration (CNI specification 1.1, section 1); a lone plugin is a list of one."""

    source: str
    """The file that it was read from; for messages."""
    name: str
    versions: tuple[str, ...]
    """Those that it is written for and that we speak, oldest first; at least one."""
    plugins: tuple[dict[str, Any], ...]
    """As in the file; each has a `type`. Not to be changed."""
    disable_check: bool = False
    disable_gc: bool = False

    @property
    def version(self) -> str:
        """The one to speak."""
        return self.versions[-1]

    @property
    def title(self) -> str:
        """For messages."""
        return f'network "{self.name}" ({self.source})'

    def at_least(self, version: str) -> bool:
        """Whether plugins are spoken to in this version of the specification or a later one."""
        return VERSIONS.index(self.version) >= VERSIONS.index(version)

    def declares(self, capability: str) -> bool:
        """Whether a plugin of the chain takes this capability argument."""
        return any(plugin.get("capabilities", {}).get(capability) for plugin in self.plugins)


class _File(msgspec.Struct, rename="camel"):
    """What a configuration file may say that matters to us; the rest is the plugins' business."""

    name: str = ""
    cni_version: str = "0.1.0"
    cni_versions: list[str] = []
    disable_check: bool = False
    disable_gc: bool = msgspec.field(default=False, name="disableGC")
    load_only_inlined_plugins: bool = False
    plugins: list[dict[str, Any]] | None = None
    type: str = ""


class _Plugin(msgspec.Struct):
    """The same of a plugin's part."""

    type: str
    capabilities: dict[str, bool] = {}


def parse(text: str, source: str, beside: Sequence[dict[str, Any]] = ()) -> NetworkConfig:
    """Reads a network configuration, a list or a lone plugin. Raises ValueError with the reason.

    `beside` are plugins from the folder of the network, appended unless the file says loadOnlyInlinedPlugins.
    """
    document = _object(text)
    file = msgspec.convert(document, _File, strict=False)
    if not _NAME.fullmatch(file.name):
        raise ValueError(f'name: "{file.name}" is no name for a network')
    plugins = [document] if file.plugins is None and file.type else file.plugins or []
    if not file.load_only_inlined_plugins and not file.type:
        plugins = [*plugins, *beside]
    if not plugins:
        raise ValueError("plugins: there is none, and no type")
    for plugin in plugins:
        _check_plugin(plugin)
    versions = {file.cni_version or VERSIONS[0], *file.cni_versions}
    spoken = tuple(version for version in VERSIONS if version in versions)
    if not spoken:
        raise ValueError(f"cniVersion: {', '.join(sorted(versions))} is not known: {VERSIONS[0]} to {VERSIONS[-1]} are")
    return NetworkConfig(
        source=source,
        name=file.name,
        versions=spoken,
        plugins=tuple(plugins),
        disable_check=file.disable_check,
        disable_gc=file.disable_gc,
    )


def _object(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def _check_plugin(plugin: Mapping[str, Any]) -> None:
    kind = msgspec.convert(plugin, _Plugin).type
    if not kind or "/" in kind:
        raise ValueError(f'type: "{kind}" is no name of a plugin')


def find_plugin(network: NetworkConfig, kind: str, directories: Sequence[str]) -> str:
    """The path of a plugin's program. Raises Unavailable if it is not installed."""
    for directory in directories:
        path = os.path.join(directory, kind)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    places = ", ".join(f'"{directory}"' for directory in directories)
    raise Unavailable(f'{network.title}: plugin "{kind}" is not in {places}: install it')


_Listing = tuple[tuple[str, int, int, int], ...] | None
"""Name, inode, time of change in nanoseconds and size of each configuration file, by name; None without directory."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The outcome of reading, and what directories were like at that time."""

    listings: Mapping[str, _Listing]
    outcome: NetworkConfig | PodwrightError


class Configurations:
    """The configuration in force. Its methods may block on the disk for a moment, but not wait."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: _Loaded | None = None

    def current(self) -> NetworkConfig:
        """The network for new pods.

        Raises Unavailable if there is none yet or a plugin is not installed, as both are usually brought by a pod of
        the network's provider and come by themselves, and FailedPrecondition if a file has to be repaired.
        """
        loaded = self._loaded
        if loaded is None or any(_list(directory) != seen for directory, seen in loaded.listings.items()):
            loaded = self._loaded = self._load()
        if isinstance(loaded.outcome, PodwrightError):
            raise type(loaded.outcome)(str(loaded.outcome))
        for plugin in loaded.outcome.plugins:
            find_plugin(loaded.outcome, plugin["type"], self._settings.plugin_dirs)
        return loaded.outcome

    def _load(self) -> _Loaded:
        directory = self._settings.config_dir
        listings: dict[str, _Listing] = {directory: _list(directory)}
        try:
            config = self._choose(listings)
        except PodwrightError as error:
            logger.warning("%s", error)
            return _Loaded(listings, error)
        plugins = ", ".join(plugin["type"] for plugin in config.plugins)
        logger.info("%s is in use: CNI %s, plugins %s", config.title, config.version, plugins)
        return _Loaded(listings, config)

    def _choose(self, listings: dict[str, _Listing]) -> NetworkConfig:
        """Reads files until one counts; adds the folders of plugins that it reads to `listings`."""
        directory, name = self._settings.config_dir, self._settings.network
        broken: list[str] = []
        for file in _names(listings[directory]):
            path = os.path.join(directory, file)
            try:
                config = _read(path, listings)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                broken.append(f'"{path}" is no valid network configuration: {reason}')
                if not name:
                    raise FailedPrecondition(
                        f"{broken[0]}; the first file by name is the one that counts: repair or remove it"
                    ) from None
                continue
            if not name or config.name == name:
                return config
        wanted = f'no configuration of network "{name}"' if name else "no network configuration"
        place = f'in "{directory}"' if listings[directory] is not None else f'since there is no "{directory}"'
        hint = "; ".join(broken) or "has the provider of the network been started?"
        raise Unavailable(f"{wanted} (*{', *'.join(EXTENSIONS)}) {place}: {hint}")


def _read(path: str, listings: dict[str, _Listing]) -> NetworkConfig:
    """Reads a file and, for a list, the plugins in the folder beside it that has the network's name (*.conf; the
    reference library does so). Raises OSError and ValueError.
    """
    with open(path, encoding="utf-8") as file:
        text = file.read()
    name = _object(text).get("name")
    beside: list[dict[str, Any]] = []
    if isinstance(name, str) and _NAME.fullmatch(name):
        folder = os.path.join(os.path.dirname(path), name)
        listings[folder] = _list(folder)
        for entry in _names(listings[folder]):
            if entry.endswith(".conf"):
                with open(os.path.join(folder, entry), encoding="utf-8") as file:
                    beside.append(_object(file.read()))
    return parse(text, path, beside)


def _names(listing: _Listing) -> list[str]:
    return [name for name, *_ in listing or ()]


def _list(directory: str) -> _Listing:
    try:
        with os.scandir(directory) as entries:
            return tuple(sorted(_seen(entry) for entry in entries if _is_configuration(entry)))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_configuration(entry: "os.DirEntry[str]") -> bool:
    return entry.name.endswith(EXTENSIONS) and not entry.is_dir()


def _seen(entry: "os.DirEntry[str]") -> tuple[str, int, int, int]:
    try:
        stat = entry.stat()
    except OSError:  # a dangling link counts as a file, which then cannot be read
        return entry.name, 0, 0, 0
    return entry.name, stat.st_ino, stat.st_mtime_ns, stat.st_size
