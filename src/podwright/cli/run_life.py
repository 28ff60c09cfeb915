"""One pod of `podwright run`, from its directory to its removal.

Does what a kubelet would, without a cluster: init containers one after the other, sidecars beside them, then all
containers in order; ended ones are started again as restartPolicy says, after a kubelet's back-off. As this is for
one shot, no policy means Never, and images that are there are not pulled again unless imagePullPolicy says Always.
"""

import dataclasses
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from podwright.cli.inventory import DEFAULT_NAMESPACE
from podwright.cli.lifecycle import remove_pod, stop_pod
from podwright.client import Client
from podwright.cri import v1
from podwright.errors import FailedPrecondition, NotFound, PodwrightError
from podwright.pods import dns, environment, translate, volumes
from podwright.pods.back_off import BackOff
from podwright.pods.directory import ANNOTATION, PodDirectory
from podwright.pods.facts import Facts
from podwright.pods.read import PodFile
from podwright.pods.schema import Container, Pod

_FIRST_LOOK, _LONGEST_LOOK = 0.02, 0.3  # seconds between two looks at the containers


class Interrupted(Exception):
    """The user wants it to end."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told what happens."""

    report: Callable[[str], None]
    started: Callable[[Container, v1.ContainerStatus], None]
    ended: Callable[[str], None]
    """With the id of the container."""


@dataclass(slots=True)
class _Run:
    """A container and its present attempt."""

    wanted: Container
    path: str
    """In the pod's specification."""
    id: str = ""
    attempt: int = 0
    back_off: BackOff = field(default_factory=BackOff)
    again_at: float | None = None
    """When it is to be started again."""
    exit_code: int | None = None
    """Once it has ended for good."""


@dataclass(slots=True)
class PodLife:
    """What `podwright run` does with a pod. `interrupt` and `kill` may be called from another thread than the rest."""

    cri: Client
    pod: Pod
    file: PodFile
    base: str
    handler: str
    watcher: Watcher
    id: str = ""
    _facts: Facts = field(init=False)
    _directory: PodDirectory = field(init=False)
    _volumes: dict[str, str] = field(default_factory=dict)
    _config: v1.PodSandboxConfig = field(default_factory=v1.PodSandboxConfig)
    _runs: list[_Run] = field(default_factory=list)
    _interrupted: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        metadata, spec = self.pod.metadata, self.pod.spec
        uid = metadata.uid or str(uuid.uuid4())
        namespace = metadata.namespace or DEFAULT_NAMESPACE
        self._facts = Facts(self.pod, namespace, uid, spec.node_name or socket.gethostname())
        self._directory = PodDirectory(self.base, uid)

    @property
    def name(self) -> str:
        return f"{self._facts.namespace}/{self.pod.metadata.name}"

    def start(self) -> None:
        """Returns when all containers run and those for initialisation have ended.

        After a failure call `stop` and `remove`.
        """
        spec = self.pod.spec
        self._directory.make()
        self._volumes = volumes.prepare(self._facts, self.file.objects, self._directory)
        for wanted in [*spec.init_containers, *spec.containers]:
            self._image(wanted.image, wanted.image_pull_policy, f'container "{wanted.name}"')
        for volume in spec.volumes:
            if volume.image is not None:
                self._image(volume.image.reference, volume.image.pull_policy, f'volume "{volume.name}"')
        self._make_sandbox()
        for index, wanted in enumerate(spec.init_containers):
            run = self._launch(wanted, f"spec.initContainers[{index}]")
            if wanted.restart_policy == "Always":
                self._runs.append(run)
            else:
                self._initialise(run)
        for index, wanted in enumerate(spec.containers):
            self._runs.append(self._launch(wanted, f"spec.containers[{index}]"))

    def wait(self) -> int:
        """Returns when all containers have ended for good: the first status that is not 0, or 0."""
        main = [run for run in self._runs if run.path.startswith("spec.containers")]
        look = _FIRST_LOOK
        while any(run.exit_code is None for run in main):
            changed = self._look()
            look = _FIRST_LOOK if changed else min(2 * look, _LONGEST_LOOK)
            self._sleep(look)
        return next((run.exit_code for run in main if run.exit_code), 0)

    def interrupt(self) -> None:
        """Makes `start` and `wait` raise Interrupted soon."""
        self._interrupted.set()

    def kill(self) -> None:
        """Cuts grace periods short; what waits for them then goes on."""
        for run in self._runs:
            if run.id and run.exit_code is None:
                self.cri.stop_container(run.id, timeout=0)

    def stop(self) -> None:
        """Ends what runs, with the pod's grace period. The pod and its logs stay."""
        if self.id:
            stop_pod(self.cri, self.id, self.pod.spec.termination_grace_period_seconds)

    def remove(self) -> None:
        """Leaves nothing behind; what still runs is killed."""
        if self.id:
            remove_pod(self.cri, v1.PodSandbox(id=self.id))
        self._directory.remove()

    def _image(self, name: str, policy: str, what: str) -> None:
        if not self.cri.image_status(name).HasField("image") or policy == "Always":
            if policy == "Never":
                raise NotFound(f'image "{name}" of {what} is not here, and never pulled')
            self.watcher.report(f"pulling {name}")
            self.cri.pull_image(name)
        self._check()

    def _make_sandbox(self) -> None:
        try:
            with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
                resolv_conf = file.read()
        except OSError:
            resolv_conf = ""
        self._config = translate.sandbox(
            self._facts,
            log_directory=self._directory.logs,
            dns=dns.config(self.pod.spec, dns.ResolvConf.parse(resolv_conf)),
            annotations={ANNOTATION: self._directory.base},
        )
        handler = self.pod.spec.runtime_class_name or self.handler
        began = time.monotonic()
        self.id = self.cri.run_pod_sandbox(self._config, runtime_handler=handler).pod_sandbox_id
        network = self.cri.pod_sandbox_status(self.id).status.network
        addresses = tuple(filter(None, [network.ip, *(other.ip for other in network.additional_ips)]))
        facts = self._facts
        self._facts = dataclasses.replace(facts, addresses=addresses)
        if not self.pod.spec.host_network:
            with open(self._directory.hosts, "w", encoding="utf-8") as file:
                file.write(translate.hosts_file(self._facts))
        at = f", address {addresses[0]}" if addresses else ""
        self.watcher.report(f"pod {self.name}: sandbox ready in {time.monotonic() - began:.2f} s{at}")

    def _launch(self, wanted: Container, path: str) -> _Run:
        run = _Run(wanted, path)
        self._start(run)
        return run

    def _start(self, run: _Run) -> None:
        self._check()
        wanted = run.wanted
        image = self.cri.image_status(wanted.image).image
        variables = environment.environment(wanted, self.file.objects, self._facts, run.path)
        mounts = volumes.mounts(self.pod, wanted, self._volumes, variables, run.path)
        if not self.pod.spec.host_network and all(mount.container_path != "/etc/hosts" for mount in mounts):
            mounts.append(v1.Mount(container_path="/etc/hosts", host_path=self._directory.hosts))
        config = translate.container(
            self._facts,
            wanted,
            image=image,
            environment=variables,
            mounts=mounts,
            attempt=run.attempt,
            where=run.path,
        )
        try:
            run.id = self.cri.create_container(self.id, config, sandbox_config=self._config).container_id
            self.cri.start_container(run.id)
        except PodwrightError as error:
            raise type(error)(f'container "{wanted.name}" of pod "{self.name}": {error}') from error
        run.again_at = None
        self.watcher.started(wanted, self.cri.container_status(run.id).status)

    def _initialise(self, run: _Run) -> None:
        """Waits until an init container has ended well."""
        self._runs.append(run)
        look = _FIRST_LOOK
        while run.exit_code is None:
            look = _FIRST_LOOK if self._look() else min(2 * look, _LONGEST_LOOK)
            self._sleep(look)
        if run.exit_code != 0:
            raise FailedPrecondition(
                f'init container "{run.wanted.name}" of pod "{self.name}" failed with status {run.exit_code}'
            )

    def _look(self) -> bool:
        """Sees what has ended, and starts again what is due; whether there was anything."""
        self._check()
        wanted = v1.ContainerFilter(pod_sandbox_id=self.id)
        states = {listed.id: listed.state for listed in self.cri.list_containers(wanted).containers}
        changed = False
        for run in self._runs:
            if run.exit_code is not None:
                continue
            if run.again_at is not None:
                if time.monotonic() >= run.again_at:
                    self._start_again(run)
                    changed = True
            elif run.id not in states:
                raise NotFound(f'container "{run.wanted.name}" of pod "{self.name}" was removed by someone else')
            elif states[run.id] in {v1.CONTAINER_EXITED, v1.CONTAINER_UNKNOWN}:
                self._ended(run)
                changed = True
        return changed

    def _ended(self, run: _Run) -> None:
        self.watcher.ended(run.id)
        status = self.cri.container_status(run.id).status
        code = status.exit_code
        reason = f" ({status.reason})" if status.reason not in {"", "Completed", "Error"} else ""
        policy = self._policy(run)
        if policy == "Never" or (policy == "OnFailure" and code == 0):
            run.exit_code = code
            if code or reason:
                self.watcher.report(f'container "{run.wanted.name}" ended with status {code}{reason}')
            return
        now = time.monotonic()
        run.again_at = run.back_off.due(now)
        self.watcher.report(
            f'container "{run.wanted.name}" ended with status {code}{reason}, starts again '
            + (f"in {run.back_off.pause:.0f} s" if run.back_off.pause else "now")
        )
        run.back_off.tried(now)

    def _policy(self, run: _Run) -> str:
        if run.path.startswith("spec.containers"):
            return self.pod.spec.restart_policy or "Never"
        if run.wanted.restart_policy == "Always":
            return "Always"
        return "Never" if self.pod.spec.restart_policy in {None, "Never"} else "OnFailure"

    def _start_again(self, run: _Run) -> None:
        self.cri.remove_container(run.id)
        run.attempt += 1
        self._start(run)

    def _sleep(self, seconds: float) -> None:
        if self._interrupted.wait(seconds):
            raise Interrupted

    def _check(self) -> None:
        if self._interrupted.is_set():
            raise Interrupted
