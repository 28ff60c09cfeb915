"""Which pods and containers there are, and which of them a name means."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from podwright.client import Client
from podwright.cri import v1
from podwright.errors import FailedPrecondition, InvalidArgument, NotFound
from podwright.ids import short

DEFAULT_NAMESPACE: Final = "default"

_NAME_LABEL, _NAMESPACE_LABEL = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace"


class Ambiguous(FailedPrecondition):
    """A name means more than one object."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod in a list."""

    listed: v1.PodSandbox

    @property
    def id(self) -> str:
        return self.listed.id

    @property
    def name(self) -> str:
        return self.listed.metadata.name

    @property
    def namespace(self) -> str:
        return self.listed.metadata.namespace

    @property
    def ready(self) -> bool:
        return self.listed.state == v1.SANDBOX_READY

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def created_ns(self) -> int:
        return self.listed.created_at

    def is_called(self, parts: Sequence[str]) -> bool:
        """Whether pod or namespace/pod, split at the slashes, means this one."""
        return [*parts] in ([self.name], [self.namespace, self.name])


@dataclass(frozen=True, slots=True)
class Container:
    """A container in a list. The names of its pod are empty where nobody knows them."""

    listed: v1.Container
    pod_name: str
    namespace: str

    @property
    def id(self) -> str:
        return self.listed.id

    @property
    def name(self) -> str:
        return self.listed.metadata.name

    @property
    def running(self) -> bool:
        return self.listed.state == v1.CONTAINER_RUNNING

    @property
    def pod_id(self) -> str:
        return self.listed.pod_sandbox_id

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.pod_name}/{self.name}"

    @property
    def created_ns(self) -> int:
        return self.listed.created_at

    def is_called(self, parts: Sequence[str]) -> bool:
        """Whether container, pod/container or namespace/pod/container means this one."""
        return [*parts] in ([self.name], [self.pod_name, self.name], [self.namespace, self.pod_name, self.name])


Object = TypeVar("Object", Pod, Container, Pod | Container)


@dataclass(frozen=True, slots=True)
class Inventory:
    """All pods and containers of a runtime at one moment."""

    pods: Sequence[Pod]
    """Newest first."""
    containers: Sequence[Container]
    """Newest first."""
    by_pod: Mapping[str, Sequence[Container]]
    """The same by the pod's id; pods without containers are not there."""

    @classmethod
    def of(cls, cri: Client) -> "Inventory":
        """Asks the runtime for its lists."""
        pods = {listed.id: Pod(listed) for listed in cri.list_pod_sandbox().items}
        containers = [_container(listed, pods) for listed in cri.list_containers().containers]
        containers.sort(key=lambda container: -container.created_ns)
        by_pod: dict[str, list[Container]] = {}
        for container in containers:
            by_pod.setdefault(container.pod_id, []).append(container)
        return cls(sorted(pods.values(), key=lambda pod: -pod.created_ns), containers, by_pod)

    def pod(self, text: str) -> Pod:
        """The pod that `text` means. Raises NotFound, Ambiguous."""
        return _one("pod", text, self.pods)

    def container(self, text: str) -> Container:
        """The container that `text` means. Raises NotFound, Ambiguous."""
        return _one("container", text, self.containers)

    def either(self, text: str) -> Pod | Container:
        """The pod or container that `text` means. Raises NotFound, Ambiguous."""
        everything: list[Pod | Container] = [*self.pods, *self.containers]
        return _one("pod or container", text, everything)

    def members(self, pod: Pod) -> list[Container]:
        """The containers of a pod, oldest first, and of several attempts the last."""
        newest: dict[str, Container] = {}
        for container in reversed(self.by_pod.get(pod.id, ())):
            newest[container.name] = container
        return list(newest.values())

    def previous(self, container: Container) -> Container:
        """The attempt before this one. Raises NotFound if it is gone, or there was none."""
        same = [one for one in self.by_pod[container.pod_id] if one.name == container.name]
        before = [one for one in same if one.listed.metadata.attempt < container.listed.metadata.attempt]
        if not before:
            raise NotFound(f'container "{container.full_name}" has no earlier attempt that is still here')
        return max(before, key=lambda one: one.listed.metadata.attempt)

    def containers_of(self, found: Pod | Container) -> list[Container]:
        """The containers that are meant by a name that means this."""
        return self.members(found) if isinstance(found, Pod) else [found]


def _container(listed: v1.Container, pods: dict[str, Pod]) -> Container:
    pod = pods.get(listed.pod_sandbox_id)
    if pod is None:  # removed between the two lists, or a runtime that lists differently
        return Container(listed, listed.labels.get(_NAME_LABEL, ""), listed.labels.get(_NAMESPACE_LABEL, ""))
    return Container(listed, pod.name, pod.namespace)


def _one(kind: str, text: str, objects: Iterable[Object]) -> Object:
    """Names go before ids, for a name may look like the beginning of an id. `objects` come newest first."""
    if not text:
        raise InvalidArgument(f"the name of a {kind} is empty")
    known, parts = list(objects), text.split("/")
    tests: tuple[Callable[[Object], bool], ...] = (
        lambda item: item.id == text,
        lambda item: item.is_called(parts),
        lambda item: item.id.startswith(text),
    )
    for test in tests:
        found = _latest([item for item in known if test(item)])
        if len(found) == 1:
            return found[0]
        if found:
            choices = ", ".join(f"{item.full_name} ({short(item.id)})" for item in found)
            raise Ambiguous(f'"{text}" is ambiguous: {choices}; give more of the name, or the id')
    raise NotFound(f'no {kind} "{text}" (`podwright pods` and `podwright ps -a` list them)')


def _latest(found: list[Object]) -> list[Object]:
    """Of several attempts at the same object only the last counts."""
    latest: dict[tuple[type, str], Object] = {}
    for item in found:
        latest.setdefault((type(item), item.full_name), item)
    return list(latest.values())
