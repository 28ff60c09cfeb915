"""`podwright node`: reads the command line, agrees with the runtime, puts the node together and runs it.

Exit statuses: 0 after SIGTERM or SIGINT (pods go on), 1 what kubelets exit for with 1: no runtime, no version in
common, no port; 2 wrong flags or configuration.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

from podwright import log
from podwright.client import AsyncClient
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument, PodwrightError
from podwright.kernel import cgroups
from podwright.node import flags, machine, start
from podwright.node.cgroups import PodCgroups
from podwright.node.cluster_member import Member
from podwright.node.configuration import Configuration
from podwright.node.context import Node, ObjectSource
from podwright.node.events import Recorder
from podwright.node.flags import Flags
from podwright.node.images import Images
from podwright.node.machine import Machine
from podwright.node.manifests import ManifestObjects, Manifests
from podwright.node.observed import Observed
from podwright.node.places import Places
from podwright.node.service import Service
from podwright.pods.dns import ClusterDns, ResolvConf

logger = logging.getLogger(__name__)

FAILED, MISUSED = 1, 2


def main(arguments: Sequence[str]) -> int:
    """Runs the command; `arguments` begin with "node"."""
    try:
        given, configuration, ignored = flags.read(arguments[1:])
    except InvalidArgument as error:
        print(f"podwright node: {error}", file=sys.stderr)
        return MISUSED
    log.setup("debug" if given.verbosity >= 4 else "info", "text")
    for name in ignored:
        logger.warning("configuration: %s means nothing here", name)
    try:
        asyncio.run(_run(given, configuration))
    except* PodwrightError as errors:
        failures = _flat(errors)
        for failure in failures:
            logger.error("%s", failure)  # noqa: TRY400  its traceback helps nobody
        status = MISUSED if all(isinstance(failure, InvalidArgument) for failure in failures) else FAILED
    else:
        status = 0
    return status


def _flat(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The exceptions of a group and of the groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def _run(given: Flags, configuration: Configuration) -> None:
    cri = AsyncClient(
        configuration.container_runtime_endpoint,
        image_endpoint=configuration.image_service_endpoint or None,
        timeout=configuration.duration("runtime_request_timeout"),
    )
    async with cri:
        runtime = await start.negotiate(cri)
        driver = await start.cgroup_driver(cri, configuration.cgroup_driver)
        logger.info(
            "the runtime is %s %s, CRI %s, cgroup driver %s",
            *(runtime.runtime_name, runtime.runtime_version, cri.api_versions["RuntimeService"], driver),
        )
        node, manifests = await asyncio.to_thread(_put_together, given, configuration, cri, runtime, driver)
        service = Service(node, given, manifests, _join(given, node))
        running = asyncio.create_task(service.run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, running.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await running
        logger.info("the node ends; its pods go on")


def _join(given: Flags, node: Node) -> Member | None:
    """The node's place in a cluster; None without a kubeconfig. Raises InvalidArgument, FailedPrecondition."""
    if not given.kubeconfig:
        return None
    try:
        from podwright.node.cluster.membership import Membership  # noqa: PLC0415  its client is an extra
    except ModuleNotFoundError as error:
        raise FailedPrecondition(
            f"--kubeconfig: the client of API servers is not installed ({error.name}): pip install 'podwright[node]'"
        ) from None
    return Membership.join(node, given.kubeconfig)


def _put_together(
    given: Flags, configuration: Configuration, cri: AsyncClient, runtime: v1.VersionResponse, driver: str
) -> tuple[Node, Manifests | None]:
    """Makes the node out of its parts. Blocks. Raises InvalidArgument."""
    places = Places(given.root_dir, configuration.pod_logs_dir)
    os.makedirs(places.pods, mode=0o750, exist_ok=True)
    os.makedirs(places.logs, mode=0o755, exist_ok=True)
    this = Machine.look()
    whole = machine.capacity(this, given.root_dir, configuration.max_pods)
    reserved = [configuration.system_reserved, configuration.kube_reserved]
    usable = machine.allocatable(whole, reserved, configuration.eviction_hard)
    groups = PodCgroups(
        cgroups.detect(),
        driver,
        configuration.cgroup_root,
        configuration.cgroups_per_qos,
        configuration.pod_pids_limit,
    )
    reserved_memory = whole["memory"] - usable["memory"]
    groups.prepare(int(usable["cpu"] * 1000), this.memory - int(reserved_memory))
    recorder = Recorder()
    manifests = None
    objects: dict[str, ObjectSource] = {}
    if configuration.static_pod_path:
        manifests = Manifests(
            os.path.abspath(configuration.static_pod_path),
            given.hostname,
            configuration.duration("file_check_frequency"),
        )
        objects["file"] = ManifestObjects(manifests)
    parallel = 1 if configuration.serialize_image_pulls else configuration.max_parallel_image_pulls
    node = Node(
        name=given.hostname,
        addresses=given.node_ips or machine.addresses(),
        configuration=configuration,
        machine=this,
        allocatable=usable,
        capacity=whole,
        runtime=runtime,
        cri=cri,
        observed=Observed(cri),
        images=Images(cri, recorder, parallel),
        recorder=recorder,
        places=places,
        cgroups=groups,
        objects=objects,
        resolv_conf=_resolv_conf(configuration.resolv_conf),
        dns=ClusterDns(tuple(configuration.cluster_dns), configuration.cluster_domain)
        if configuration.cluster_dns
        else None,
    )
    return node, manifests


def _resolv_conf(path: str) -> ResolvConf:
    if not path:
        return ResolvConf()
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return ResolvConf.parse(file.read())
    except OSError as error:
        logger.warning("resolvConf %s: %s", path, error)
        return ResolvConf()
