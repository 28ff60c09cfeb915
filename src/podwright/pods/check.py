"""What the types of the schema cannot say of a pod: names, references between its parts, impossible combinations.

The rules are those of the API server's validation (pkg/apis/core/validation); a pod from a file has no API server
before it.
"""

import re
from collections.abc import Iterator
from typing import Final

from podwright.errors import InvalidArgument
from podwright.pods import quantity
from podwright.pods.schema import Container, Handler, Pod, Probe, Volume

LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, as Kubernetes names containers
SUBDOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ENV_NAME: Final = re.compile(r"[^=\x00]+")


def check(pod: Pod) -> None:
    """Raises InvalidArgument that begins with the path of the field at fault."""
    if not SUBDOMAIN.fullmatch(pod.metadata.name):
        raise InvalidArgument(f'metadata.name: "{pod.metadata.name}" is no name: use a-z, 0-9, - and .')
    if pod.metadata.namespace and not LABEL.fullmatch(pod.metadata.namespace):
        raise InvalidArgument(f'metadata.namespace: "{pod.metadata.namespace}" is no name: use a-z, 0-9 and -')
    volumes: set[str] = set()
    for index, volume in enumerate(pod.spec.volumes):
        _volume(volume, f"spec.volumes[{index}]", volumes)
        volumes.add(volume.name)
    seen: set[str] = set()
    for path, container in all_containers(pod):
        if not LABEL.fullmatch(container.name):
            raise InvalidArgument(f'{path}.name: "{container.name}" is no name: use a-z, 0-9 and -')
        if container.name in seen:
            raise InvalidArgument(f'{path}.name: "{container.name}" is there twice')
        seen.add(container.name)
        _container(container, path, volumes)
        if path.startswith("spec.initContainers"):
            _init_container(container, path)
    if pod.spec.host_pid and pod.spec.share_process_namespace:
        raise InvalidArgument("spec.shareProcessNamespace: cannot be together with hostPID")


def containers(pod: Pod) -> Iterator[tuple[str, Container]]:
    """The containers in the order in which they are begun, each with its path in the pod."""
    for index, container in enumerate(pod.spec.init_containers):
        yield f"spec.initContainers[{index}]", container
    for index, container in enumerate(pod.spec.containers):
        yield f"spec.containers[{index}]", container


def all_containers(pod: Pod) -> Iterator[tuple[str, Container]]:
    """The same, and the ephemeral ones."""
    yield from containers(pod)
    for index, container in enumerate(pod.spec.ephemeral_containers):
        yield f"spec.ephemeralContainers[{index}]", container


def _volume(volume: Volume, path: str, seen: set[str]) -> None:
    if not LABEL.fullmatch(volume.name):
        raise InvalidArgument(f'{path}.name: "{volume.name}" is no name: use a-z, 0-9 and -')
    if volume.name in seen:
        raise InvalidArgument(f'{path}.name: "{volume.name}" is there twice')
    if volume.empty_dir is not None and volume.empty_dir.size_limit is not None:
        quantity.parse(volume.empty_dir.size_limit, f"{path}.emptyDir.sizeLimit")


def _container(container: Container, path: str, volumes: set[str]) -> None:
    if not container.image.strip():
        raise InvalidArgument(f"{path}.image: is empty")
    targets: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        where = f"{path}.volumeMounts[{index}]"
        if mount.name not in volumes:
            raise InvalidArgument(f'{where}.name: there is no volume "{mount.name}"')
        if not mount.mount_path.startswith("/"):
            raise InvalidArgument(f'{where}.mountPath: "{mount.mount_path}" is not absolute')
        if mount.mount_path in targets:
            raise InvalidArgument(f'{where}.mountPath: "{mount.mount_path}" is there twice')
        targets.add(mount.mount_path)
        if mount.sub_path and mount.sub_path_expr:
            raise InvalidArgument(f"{where}.subPathExpr: cannot be together with subPath")
        if mount.mount_propagation == "Bidirectional" and not container.security_context.privileged:
            raise InvalidArgument(f"{where}.mountPropagation: Bidirectional is for privileged containers only")
    for index, variable in enumerate(container.env):
        if not _ENV_NAME.fullmatch(variable.name):
            raise InvalidArgument(f'{path}.env[{index}].name: "{variable.name}" is no name of a variable')
    quantity.limits(container.resources, f"{path}.resources")
    _handlers(container, path)


def _init_container(container: Container, path: str) -> None:
    if container.restart_policy not in {None, "Always"}:
        raise InvalidArgument(f"{path}.restartPolicy: only Always, which makes it a sidecar")
    if container.restart_policy is None:
        for name, value in (
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
            ("lifecycle", container.lifecycle),
        ):
            if value is not None:
                raise InvalidArgument(f"{path}.{name}: is for sidecars, those with restartPolicy Always, only")


def _handlers(container: Container, path: str) -> None:
    for name, probe in (
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
    ):
        if probe is None:
            continue
        _one_action(probe, f"{path}.{name}")
        if name != "readinessProbe" and probe.success_threshold > 1:
            raise InvalidArgument(f"{path}.{name}.successThreshold: can only be 1")
    if container.lifecycle is not None:
        for name, handler in (
            ("postStart", container.lifecycle.post_start),
            ("preStop", container.lifecycle.pre_stop),
        ):
            if handler is not None:
                _one_action(handler, f"{path}.lifecycle.{name}")


def _one_action(value: Probe | Handler, path: str) -> None:
    own = ("grpc",) if isinstance(value, Probe) else ("sleep",)
    given = [name for name in ("exec", "http_get", "tcp_socket", *own) if getattr(value, name) is not None]
    if len(given) != 1:
        raise InvalidArgument(f"{path}: has {len(given) or 'no'} actions; it needs exactly one")
    if value.exec is not None and not value.exec.command:
        raise InvalidArgument(f"{path}.exec.command: is empty")
