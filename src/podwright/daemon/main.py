"""`podwright serve`: reads the configuration, puts the runtime together, recovers, serves, and leaves when told to.

The only place where collaborators are made. Ending it, by whatever signal, touches no container.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import os
import shutil
import signal
import socket
import ssl
import sys
import time
from collections.abc import Sequence

from msgspec import to_builtins

from podwright import __version__, log
from podwright.core import view
from podwright.core.concurrent import all_of
from podwright.core.container_stop import stop_container
from podwright.core.container_update import change_limits
from podwright.core.events import Events
from podwright.core.ledger import Ledger
from podwright.core.operations import Operations
from podwright.core.paths import Paths
from podwright.core.recovery import find_strays, recover, sweep
from podwright.core.release import has_to_wait, release_functions
from podwright.core.runtime import Handler, Runtime, Settings
from podwright.core.stats import Stats
from podwright.core.stream_requests import StreamRequests
from podwright.core.tidy import tidy_for_ever
from podwright.core.timeline import Timeline
from podwright.daemon import config as configuration
from podwright.daemon import host_setup
from podwright.daemon.config import Config, ImagesConfig, NriConfig
from podwright.daemon.config import Streaming as StreamingConfig
from podwright.daemon.observation import observed
from podwright.daemon.reload import reload
from podwright.errors import FailedPrecondition, PodwrightError
from podwright.images.model import Credentials, ImageSettings
from podwright.images.service import Images
from podwright.kernel import cgroups
from podwright.kernel.run import PATH, prepare_loop
from podwright.network.attachments import Network
from podwright.network.config import Settings as NetworkSettings
from podwright.nri.plugins import Settings as NriSettings
from podwright.nri.service import Nri
from podwright.oci import apparmor, features, readonly_program
from podwright.oci.host import Host
from podwright.oci.runtime import OciRuntime
from podwright.server.serve import Server
from podwright.state.index import Index
from podwright.state.store import Store
from podwright.streaming.server import Settings as StreamingSettings
from podwright.streaming.server import StreamingServer
from podwright.streaming.tls import Tls
from podwright.streaming.upgrade import Timeouts

logger = logging.getLogger("podwright")

KERNEL_THREADS = 32
"""For mounts, file trees and the like: enough that fifty pods at once do not queue for a slow disk."""
SETTLE_SECONDS = 30.0


def main(arguments: list[str]) -> int:
    """`podwright serve …` and `podwright config …`, the command first. Returns the exit status."""
    command, *rest = arguments
    try:
        return _config(rest) if command == "config" else _run(rest)
    except PodwrightError as error:
        print(f"podwright {command}: {error}", file=sys.stderr)
        return 1


def _config(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="podwright config", description="Show or check the daemon's configuration.")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("default", help="print a file with every key, its default and what it means")
    actions.add_parser("check", help="say what is wrong with a file").add_argument(
        "file", nargs="?", help=f"{configuration.USUAL_FILE} if not given"
    )
    options = parser.parse_args(arguments)
    if options.action == "default":
        print(configuration.default_text())
    else:
        configuration.load(options.file)
    return 0


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="podwright serve", description="Serve the Container Runtime Interface.")
    parser.add_argument(
        "--config", help=f"configuration file (TOML; {configuration.USUAL_FILE}); see `podwright config default`"
    )
    parser.add_argument("--runtime-endpoint", help="unix socket of RuntimeService, over the configuration's")
    parser.add_argument("--image-endpoint", help="unix socket of ImageService, over the configuration's")
    parser.add_argument("--ready-fd", type=int, help="write a line to this file descriptor when serving")
    parser.add_argument("--check", action="store_true", help="only say what would keep it from serving")
    options = parser.parse_args(arguments)
    config = configuration.load(options.config)
    if os.geteuid() != 0:
        raise FailedPrecondition("root is needed: namespaces, mounts and cgroups are made")
    os.environ["PATH"] = PATH
    if options.check:
        _program(config.runtime.conmon)
        _programs(config)
        return 0
    log.setup(config.log.level, config.log.format)
    return _serve_here(config, options)


def _serve_here(config: Config, options: argparse.Namespace) -> int:
    os.umask(0o022)
    places = config.directories
    paths = Paths(places.state, places.root, places.network_namespaces, config.images.store)
    host_setup.raise_open_files()
    host_setup.lock(paths)
    host_setup.make_directories(paths)
    host_setup.hide_unified_controllers(paths, cgroups.detect())
    return asyncio.run(_serve(config, paths, options))


async def _serve(config: Config, paths: Paths, options: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload, config, options.config)
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(KERNEL_THREADS, "podwright"))
    prepare_loop()
    runtime = await _assemble(config, paths, configuration.source(options.config))
    observing = contextlib.AsyncExitStack()
    await observing.enter_async_context(observed(runtime, config.observe))
    await recover(runtime)
    strays = await asyncio.to_thread(find_strays, runtime)
    await runtime.images.start()
    await runtime.nri.start()
    streaming = StreamingServer(runtime, _streaming_settings(config.streaming))
    await streaming.start()
    server = Server(runtime)
    runtime_endpoint = options.runtime_endpoint or config.endpoints.runtime
    image_endpoint = options.image_endpoint or config.endpoints.image
    await server.start(runtime_endpoint, image_endpoint, int(config.endpoints.mode, 8))
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave.set)
    _tell_ready(options.ready_fd)
    logger.info("podwright %s serves on %s", __version__, runtime_endpoint)
    tidying = runtime.operations.detach(_keep_tidy(runtime, strays), "tidying up")
    await leave.wait()
    logger.info("leaving; containers go on")
    tidying.cancel()
    runtime.events.close()
    runtime.operations.leaving.set()
    await server.stop()
    await streaming.stop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_SECONDS):
            await runtime.operations.settle()
    runtime.operations.over = True
    await runtime.nri.close()
    await observing.aclose()
    runtime.stats.close()
    await runtime.timeline.flush()
    await runtime.images.close()
    await runtime.network.close()
    runtime.store.close()
    return 0


async def _keep_tidy(runtime: Runtime, strays: Sequence[str]) -> None:
    await asyncio.to_thread(sweep, strays)
    await tidy_for_ever(runtime)


async def _assemble(config: Config, paths: Paths, source: str) -> Runtime:
    host = Host.probe(driver=config.cgroup.driver)
    if host.apparmor:
        await _load_apparmor_profile()
    handlers = await _handlers(config, paths, systemd_cgroup=host.driver == "systemd")
    default_parent = "/system.slice" if host.driver == "systemd" else "/podwright/{id}"
    settings = Settings(
        conmon=_program(config.runtime.conmon),
        infra_program=shutil.which(config.runtime.infra_program) or config.runtime.infra_program,
        default_handler=config.runtime.default_handler or next(iter(handlers)),
        default_cgroup_parent=config.cgroup.parent or default_parent,
        shm_bytes=config.runtime.shm_size,
        open_files=config.runtime.open_files,
        create_host_paths=config.runtime.create_host_paths,
        config_file=source,
    )
    store = Store(paths.database)
    network = Network(
        store,
        NetworkSettings(
            config_dir=config.network.config_dir,
            plugin_dirs=tuple(config.network.plugin_dirs),
            template=config.network.template,
        ),
    )
    images = Images(store, _image_settings(config.images, paths))
    index = Index(store)
    nri = Nri(
        _nri_settings(config.nri),
        index,
        host,
        pins=lambda sandbox: view.pins(paths, sandbox.id, sandbox.config),
        bundle=paths.bundle,
    )
    runtime = Runtime(
        settings=settings,
        paths=paths,
        host=host,
        handlers=handlers,
        store=store,
        index=index,
        events=Events(index),
        stats=Stats(host.cgroups, index),
        timeline=Timeline(index, store),
        ledger=Ledger(store),
        operations=Operations(),
        images=images,
        network=network,
        nri=nri,
        streams=StreamRequests(time.monotonic),
    )
    runtime.ledger.releases.update(release_functions(runtime))
    runtime.ledger.has_to_wait = functools.partial(has_to_wait, runtime)
    images.in_use = runtime.uses_image
    nri.change_limits = functools.partial(change_limits, runtime)
    nri.evict = lambda container: stop_container(runtime, container, 0)
    return runtime


async def _load_apparmor_profile() -> None:
    try:
        await apparmor.load_default()
    except PodwrightError as error:
        logger.warning("containers will run without AppArmor, unless they name a profile: %s", error)


def _nri_settings(config: NriConfig) -> NriSettings:
    return NriSettings(
        enabled=config.enabled,
        socket=config.socket,
        plugin_dir=config.plugin_dir,
        config_dir=config.config_dir,
        registration_seconds=config.registration_timeout,
        request_seconds=config.request_timeout,
    )


def _image_settings(config: ImagesConfig, paths: Paths) -> ImageSettings:
    defaults = ImageSettings(paths.images)
    return ImageSettings(
        root=paths.images,
        registry_directories=tuple(config.registry_dirs),
        credentials={host: Credentials(**to_builtins(given)) for host, given in config.credentials.items()},
        credential_files=tuple(config.credential_files),
        plain_http=tuple(config.plain_http),
        unverified=tuple(config.unverified),
        pinned=tuple(config.pinned),
        verifiers=config.verifiers,
        verifier_seconds=config.verifier_seconds,
        connections=config.connections,
        connections_per_layer=config.connections_per_layer,
        unpackers=config.unpackers or defaults.unpackers,
        stall_seconds=config.stall_seconds,
        stall_rate=config.stall_rate,
        largest_layer=config.largest_layer,
    )


async def _handlers(config: Config, paths: Paths, *, systemd_cgroup: bool) -> dict[str, Handler]:
    """The first one is the default unless the configuration names another."""
    programs = _programs(config)
    made = await all_of(_handler(*item, paths, systemd_cgroup=systemd_cgroup) for item in programs.items())
    return dict(zip(programs, made, strict=True))


def _programs(config: Config) -> dict[str, str]:
    """The programs of the configured handlers by their names, or of crun and runc, as far as installed."""
    programs = {name: handler.program for name, handler in config.runtime.handlers.items()}
    if not programs:
        found = {name: shutil.which(name) for name in ("crun", "runc")}
        programs = {name: program for name, program in found.items() if program}
    if not programs:
        raise FailedPrecondition("no OCI runtime: install crun or runc, or name one under runtime.handlers")
    default = config.runtime.default_handler
    if default and default not in programs:
        raise FailedPrecondition(f'runtime.default_handler: there is no handler "{default}"')
    return {name: _program(program) for name, program in programs.items()}


async def _handler(name: str, program: str, paths: Paths, *, systemd_cgroup: bool) -> Handler:
    found = await features.probe(name, program)
    if found.flavour == "crun":
        program = readonly_program.mount(program, paths.program(name))
    return Handler(OciRuntime(name, program, paths.runtime_root(name), systemd_cgroup), found)


def _streaming_settings(section: StreamingConfig) -> StreamingSettings:
    minimum = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[section.min_tls_version]
    tls = Tls(section.certificate, section.key, minimum) if section.tls else None
    return StreamingSettings(
        section.address, section.port, tls, Timeouts(idle=section.idle_timeout, creation=section.creation_timeout)
    )


def _program(name: str) -> str:
    """The absolute path of a program. Raises FailedPrecondition if it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise FailedPrecondition(f"{name} is not installed, or not in {PATH}")
    return os.path.abspath(found)


def _tell_ready(ready_fd: int | None) -> None:
    """Tells who started us: systemd by its socket (sd_notify(3)), others by a file descriptor."""
    if ready_fd is not None:
        os.write(ready_fd, b"\n")
        os.close(ready_fd)
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(b"READY=1")
