"""Kernel parameters of sandboxes. Only those that belong to a namespace of the sandbox's own are for pods."""

from collections.abc import Mapping

from podwright.cri import v1
from podwright.errors import InvalidArgument
from podwright.kernel.namespaces import Kind

_FIELD = "linux.sysctls"

_PREFIXES: Mapping[str, Kind] = {
    "net/": "net",
    "fs/mqueue/": "ipc",
    "kernel/msg": "ipc",
    "kernel/shm": "ipc",
    "kernel/sem": "ipc",
}
"""Below /proc/sys, as the kernel documents them to be per namespace (admin-guide/sysctl/), and the namespace."""

_DEFAULTS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
"""containerd's: nobody needs a capability to serve port 80 or to ping."""


def check(config: v1.LinuxPodSandboxConfig) -> None:
    """Raises InvalidArgument for parameters that do not exist per sandbox, or that would be the host's."""
    options = config.security_context.namespace_options
    modes: Mapping[Kind, v1.NamespaceMode] = {"net": options.network, "ipc": options.ipc}
    for name, value in config.sysctls.items():
        path = _path(name)
        parts = path.split("/")
        if any(part in ("", ".", "..") or not part.isprintable() or " " in part for part in parts):
            raise InvalidArgument(f'{_FIELD}: "{name}" is no name of a kernel parameter')
        kind = next((kind for prefix, kind in _PREFIXES.items() if path.startswith(prefix)), None)
        if kind is None:
            raise InvalidArgument(f"{_FIELD}: \"{name}\" is the whole host's, not a sandbox's")
        if modes[kind] == v1.NODE:
            raise InvalidArgument(
                f'{_FIELD}: "{name}" would be the host\'s, since the sandbox uses its {kind} namespace'
            )
        if "\0" in value:
            raise InvalidArgument(f'{_FIELD}: the value of "{name}" has a NUL character')


def effective(config: v1.LinuxPodSandboxConfig) -> dict[str, str]:
    """What to set in the sandbox's namespaces: the defaults and what is asked for."""
    if config.security_context.namespace_options.network == v1.NODE:
        return dict(config.sysctls)
    asked = {_path(name) for name in config.sysctls}
    return {**{name: value for name, value in _DEFAULTS.items() if _path(name) not in asked}, **config.sysctls}


def _path(name: str) -> str:
    """The path below /proc/sys. The separator that comes first counts, as with sysctl(8): net.ipv4.conf.eth0/1.x is
    net/ipv4/conf/eth0.1/x.
    """
    dot, slash = name.find("."), name.find("/")
    return name if slash != -1 and (dot == -1 or slash < dot) else name.translate(str.maketrans("./", "/."))
