"""The configuration file: every key, with its default and what it means.

`podwright config default` prints it; the comments there are the texts below the keys here. Unknown keys and values of
the wrong type are refused with the name of the key.
"""

import ast
import inspect
import os
import tomllib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from podwright.errors import InvalidArgument

USUAL_FILE = "/etc/podwright/config.toml"


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file."""


class Endpoints(Section, frozen=True):
    """[endpoints]"""

    runtime: str = "unix:///run/podwright/podwright.sock"
    """Unix socket of RuntimeService, and of ImageService if that has none of its own."""
    image: str = ""
    """Unix socket of ImageService. Empty: the same as runtime."""
    mode: str = "0660"
    """Access mode of the sockets."""


class Directories(Section, frozen=True):
    """[directories]"""

    root: str = "/var/lib/podwright"
    """What survives a reboot: images, written files of containers, state.db."""
    state: str = "/run/podwright"
    """What lives as long as the processes: bundles, pinned namespaces. Should be a tmpfs."""
    network_namespaces: str = "/run/netns"
    """Where network namespaces are pinned, so that `ip netns` and CNI agents find them."""


class HandlerConfig(Section, frozen=True):
    """[runtime.handlers.<name>]"""

    program: str
    """The OCI runtime: crun, runc or one with their command line."""


class RuntimeConfig(Section, frozen=True):
    """[runtime]"""

    default_handler: str = ""
    """The handler of pods without a RuntimeClass. Empty: crun, or runc where crun is not installed."""
    conmon: str = "conmon"
    """The monitor of containers."""
    infra_program: str = "catatonit"
    """Process 1 where the containers of a pod share a PID namespace; a static program."""
    shm_size: Annotated[int, Meta(ge=4096)] = 64 << 20
    """Bytes of a pod's /dev/shm."""
    open_files: Annotated[int, Meta(ge=0)] = 1048576
    """RLIMIT_NOFILE of containers, lowered to what the daemon may give. 0: the daemon's own."""
    create_host_paths: bool = False
    """Whether a volume's host path that does not exist is made, an empty directory, as containerd and CRI-O do it. Else
    the container is refused, as the protocol has it."""
    handlers: dict[str, HandlerConfig] = field(default_factory=dict)
    """Handlers by name, as RuntimeClass objects call them. None: crun and runc, where installed."""


class Cgroup(Section, frozen=True):
    """[cgroup]"""

    driver: Literal["auto", "systemd", "cgroupfs"] = "auto"
    """Who makes cgroups; kubelets ask for it. auto: systemd where it runs."""
    parent: str = ""
    """The cgroup of pods for which no client names one; {id} is the sandbox's. Empty: by the driver."""


class NetworkConfig(Section, frozen=True):
    """[network]"""

    config_dir: str = "/etc/cni/net.d"
    """CNI configurations; the first by name is used."""
    plugin_dirs: list[str] = field(default_factory=lambda: ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"])
    """Where CNI plugins are."""
    template: str = ""
    """Rendered into config_dir when the kubelet tells the pod CIDR. Empty: the CIDR is not used."""


class CredentialsConfig(Section, frozen=True):
    """[images.credentials."<host>"]"""

    username: str = ""
    """With a password, for registries that take those."""
    password: str = ""
    """Or a token that the registry takes as one."""
    identity_token: str = ""
    """A refresh token for the registry's token service."""
    registry_token: str = ""
    """A bearer token, sent as it is."""


class ImagesConfig(Section, frozen=True):
    """[images]"""

    store: str = ""
    """Where images are kept, on one file system. Empty: images in directories.root."""
    registry_dirs: list[str] = field(
        default_factory=lambda: ["/etc/podwright/certs.d", "/etc/containerd/certs.d", "/etc/docker/certs.d"]
    )
    """Directories with <registry>/hosts.toml: mirrors, TLS, headers."""
    plain_http: list[str] = field(default_factory=list)
    """Registries without hosts.toml that are spoken to without TLS; those on the loopback interface are anyway."""
    unverified: list[str] = field(default_factory=list)
    """Registries without hosts.toml whose certificates are not checked."""
    credentials: dict[str, CredentialsConfig] = field(default_factory=dict)
    """For pods that bring none, by host, as in "quay.io" or "mirror.example:5000"."""
    credential_files: list[str] = field(
        default_factory=lambda: ["/etc/podwright/auth.json", "/root/.docker/config.json"]
    )
    """More of them, as docker login writes them; credential helpers named there are asked."""
    pinned: list[str] = field(default_factory=list)
    """Names of images that garbage collection must not remove; * and ? stand for any part of a name."""
    verifiers: str = ""
    """Directory of programs that say whether an image may be used, called as containerd calls its image verifiers."""
    verifier_seconds: Annotated[float, Meta(gt=0)] = 10.0
    """How long one of them may take."""
    connections: Annotated[int, Meta(ge=1)] = 8
    """Open to all registries at a time."""
    connections_per_layer: Annotated[int, Meta(ge=1)] = 4
    """So many fetch one large layer."""
    unpackers: Annotated[int, Meta(ge=0)] = 0
    """Layers that are unpacked at a time. 0: as many as there are processors, two at least."""
    stall_seconds: Annotated[float, Meta(gt=0)] = 10.0
    """A connection that brings less than stall_rate for so long is given up, and the download goes on elsewhere."""
    stall_rate: Annotated[int, Meta(ge=1)] = 1024
    """Bytes a second."""
    largest_layer: Annotated[int, Meta(ge=1)] = 1 << 40
    """Bytes of all files of a layer, unpacked; a larger one is refused."""


class NriConfig(Section, frozen=True):
    """[nri]"""

    enabled: bool = True
    """Whether there are plugins of the Node Resource Interface; see docs/nri.md."""
    socket: str = "/var/run/nri/nri.sock"
    """Where plugins connect. Empty: only those in plugin_dir take part."""
    plugin_dir: str = "/opt/nri/plugins"
    """Plugins that are started with the daemon, called <two digits>-<name>."""
    config_dir: str = "/etc/nri/conf.d"
    """What those are configured with: <two digits>-<name>.conf or <name>.conf."""
    registration_timeout: Annotated[float, Meta(gt=0)] = 5.0
    """Seconds that a plugin may take to register, and again to look at all that there is."""
    request_timeout: Annotated[float, Meta(gt=0)] = 2.0
    """Seconds that a plugin may take to answer; one that takes longer is dropped."""


class Streaming(Section, frozen=True):
    """[streaming]"""

    address: str = "127.0.0.1"
    """Where exec, attach and port-forward are served, over HTTP; kubelets of this node connect to it."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """0: any free one."""
    tls: bool = False
    """Serve over HTTPS."""
    certificate: str = ""
    """File with the certificate and its chain (PEM). Empty: one is made at each start."""
    key: str = ""
    """File with the certificate's key (PEM)."""
    min_tls_version: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS that is spoken."""
    idle_timeout: Annotated[int, Meta(ge=1)] = 4 * 3600
    """Seconds without data either way after which a session ends."""
    creation_timeout: Annotated[int, Meta(ge=1)] = 30
    """Seconds that a client may take to open the streams of its session."""


class Log(Section, frozen=True):
    """[log]"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    format: Literal["text", "json"] = "text"
    """One line an event, to stderr."""


class Observe(Section, frozen=True):
    """[observe]"""

    address: str = ""
    """host:port of the HTTP server with /metrics, /pulls, /healthz and /debug/tasks. Empty: there is none."""
    traces: str = ""
    """OTLP collector, such as http://127.0.0.1:4318/v1/traces; needs podwright[tracing]. Empty: no traces."""


class Config(Section, frozen=True):
    """The whole file."""

    endpoints: Endpoints = Endpoints()
    directories: Directories = Directories()
    runtime: RuntimeConfig = RuntimeConfig()
    cgroup: Cgroup = Cgroup()
    network: NetworkConfig = NetworkConfig()
    images: ImagesConfig = ImagesConfig()
    nri: NriConfig = NriConfig()
    observe: Observe = Observe()
    streaming: Streaming = Streaming()
    log: Log = Log()


def parse(text: str, source: str) -> Config:
    """Reads a configuration. Raises InvalidArgument with `source` and the key at fault."""
    try:
        return msgspec.convert(tomllib.loads(text), Config)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise InvalidArgument(f"{source}: {error}") from None


def load(path: str | None) -> Config:
    """The configuration in the file; for None in the usual file, or the defaults if it does not exist.

    Raises InvalidArgument.
    """
    try:
        with open(path or USUAL_FILE, encoding="utf-8") as file:
            return parse(file.read(), path or USUAL_FILE)
    except FileNotFoundError:
        if path is None:
            return Config()
        raise InvalidArgument(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path or USUAL_FILE}: {error}") from None


def source(path: str | None) -> str:
    """The file that `load` reads; "" if that takes the defaults."""
    return path or (USUAL_FILE if os.path.exists(USUAL_FILE) else "")


def default_text() -> str:
    """The defaults as a commented TOML file."""
    lines = ["# Podwright's configuration. Every key is shown with its default.", ""]
    config = Config()
    for section in msgspec.structs.fields(Config):
        table = getattr(config, section.name)
        lines.append(f"[{section.name}]")
        for key, description in _descriptions(type(table)).items():
            value = getattr(table, key)
            lines.append(f"# {description}")
            lines.append(f"# [{section.name}.{key}.NAME]" if isinstance(value, dict) else f"{key} = {_toml(value)}")
        lines.append("")
    return "\n".join(lines)


def _descriptions(section: type[Section]) -> dict[str, str]:
    """The text below each key of a section, from the source."""
    (definition,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            assert isinstance(following, ast.Expr)
            assert isinstance(following.value, ast.Constant)
            found[statement.target.id] = str(following.value.value)
    return found


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
