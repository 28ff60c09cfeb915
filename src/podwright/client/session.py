"""What a client decides, without sending anything: versions, deadlines, fall-backs.

Each call is a plan: a generator that yields what to send (`Call`) or how long to pause (`Pause`) and is sent the
answer, or has a PodwrightError thrown in. The synchronous and the asynchronous client drive the same plans.

Negotiation, for each service by itself: v1 is asked for with the call that kubelets use for it. Only UNIMPLEMENTED
leads to v1alpha2; every other failure is a connection problem and leaves the question open. What was chosen first
stays for the life of the session, whatever the runtime is replaced by meanwhile.
"""

import logging
import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from google.protobuf.message import Message

from podwright.client.endpoint import Endpoint, find
from podwright.client.errors import ConnectionFailed, NoCommonVersion, RestartNeeded
from podwright.cri.methods import API_VERSIONS, METHODS, ApiVersion, Method, ServiceName
from podwright.errors import PodwrightError, Unimplemented

logger = logging.getLogger(__name__)

SERVICES: tuple[ServiceName, ...] = ("RuntimeService", "ImageService")

KUBELET_TIMEOUT = 120.0
"""Seconds: the kubelet's runtimeRequestTimeout."""

_PROBES: Final[Mapping[ServiceName, Method]] = {
    "RuntimeService": METHODS["Version"],
    "ImageService": METHODS["ImageFsInfo"],
}

_LIST_INSTEAD: Final[Mapping[str, Method]] = {
    "StreamPodSandboxes": METHODS["ListPodSandbox"],
    "StreamContainers": METHODS["ListContainers"],
    "StreamContainerStats": METHODS["ListContainerStats"],
    "StreamPodSandboxStats": METHODS["ListPodSandboxStats"],
    "StreamPodSandboxMetrics": METHODS["ListPodSandboxMetrics"],
    "StreamImages": METHODS["ListImages"],
}
"""Requests and answers of such a pair are the same on the wire: one filter, one repeated field, both number 1."""

_FIRST_PAUSE, _PAUSE_GROWS_BY, LONGEST_PAUSE = 0.1, 1.6, 3.0  # seconds: the kubelet's back-off between dials


@dataclass(frozen=True, slots=True)
class Call:
    """One RPC to send."""

    method: Method
    version: ApiVersion
    request: Message
    timeout: float | None
    """Seconds; None for no limit."""

    @property
    def path(self) -> str:
        """The gRPC path."""
        return self.method.path(self.version)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before going on."""

    seconds: float


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """The plan is carried out."""

    result: Result


Plan = Generator[Call | Pause, Message | None, Result]


def advance(plan: Plan[Result], answer: Message | PodwrightError | None) -> Call | Pause | Done[Result]:
    """The next step of a plan, given what came of the one before (None at the beginning and after a pause)."""
    try:
        return plan.throw(answer) if isinstance(answer, PodwrightError) else plan.send(answer)
    except StopIteration as finished:
        return Done(finished.value)


def endpoints_of(runtime: str | Endpoint | None, images: str | Endpoint | None) -> Mapping[ServiceName, Endpoint]:
    """Reads what a client is given: None for `runtime` looks for one, None for `images` means the same endpoint."""
    first = find() if runtime is None else _endpoint(runtime)
    return {"RuntimeService": first, "ImageService": first if images is None else _endpoint(images)}


def _endpoint(given: str | Endpoint) -> Endpoint:
    return Endpoint.parse(given) if isinstance(given, str) else given


class Session:
    """The memory of one client. Safe to use from many threads."""

    def __init__(self, endpoints: Mapping[ServiceName, Endpoint], timeout: float) -> None:
        """`timeout` is what a plain call may take, in seconds; other deadlines follow from it as the kubelet's do."""
        self.endpoints = endpoints
        self._timeout = timeout
        self._versions: dict[ServiceName, ApiVersion] = {}
        self._without_stream: set[str] = set()

    @property
    def versions(self) -> dict[ServiceName, ApiVersion]:
        """The version chosen for each service; a service that has not been negotiated with is absent."""
        return dict(self._versions)

    def connect(self, wait: float) -> Plan[None]:
        """Negotiates with both services. Connection problems are tried again for `wait` seconds."""
        waited, pause = 0.0, _FIRST_PAUSE
        while True:
            try:
                for service in SERVICES:
                    yield from self._version(service)
            except ConnectionFailed:
                if waited >= wait:
                    raise
                yield Pause(min(pause, wait - waited))
                waited += pause
                pause = min(pause * _PAUSE_GROWS_BY, LONGEST_PAUSE)
            else:
                return

    def unary(self, method: Method, request: Message, deadline: float | None) -> Plan[Message]:
        """Makes a call that has one answer."""
        version = yield from self._version(method.service)
        self._require(method, version)
        try:
            return (yield from _ask(Call(method, version, request, self._seconds(method, request, deadline))))
        except Unimplemented:
            yield from self._raise_if_version_is_gone(method.service, version)
            raise

    def open(self, method: Method, request: Message, deadline: float | None) -> Plan[Call | None]:
        """Prepares a call that streams. None: the runtime has no such stream, `listed` gives the same in one answer."""
        version = yield from self._version(method.service)
        if method.name in _LIST_INSTEAD and (version not in method.versions or method.name in self._without_stream):
            return None
        self._require(method, version)
        return Call(method, version, request, self._seconds(method, request, deadline))

    def refused(self, call: Call) -> Plan[None]:
        """After UNIMPLEMENTED in place of a stream's first message: remembers it. Raises if there is no other way."""
        yield from self._raise_if_version_is_gone(call.method.service, call.version)
        if call.method.name not in _LIST_INSTEAD:
            raise Unimplemented(f"{self._who(call.method.service)} does not serve {call.method.name}")
        self._without_stream.add(call.method.name)

    def listed(self, method: Method, request: Message, deadline: float | None) -> Plan[Message]:
        """The whole of a Stream* call as its first and only message, by means of its List* call."""
        instead = _LIST_INSTEAD[method.name]
        answer = yield from self.unary(instead, instead.request.FromString(request.SerializeToString()), deadline)
        return method.response.FromString(answer.SerializeToString())

    def _version(self, service: ServiceName) -> Plan[ApiVersion]:
        if service in self._versions:
            return self._versions[service]
        probe = _PROBES[service]
        for version in API_VERSIONS:
            try:
                yield from _ask(Call(probe, version, probe.request(), self._timeout))
            except Unimplemented:
                continue
            except ConnectionFailed:
                raise
            except PodwrightError as error:
                raise ConnectionFailed(
                    f"{self._who(service)} failed when asked for CRI {version}: {error} ({error.code.name.lower()})"
                ) from error
            chosen = self._versions.setdefault(service, version)
            logger.info("%s speaks CRI %s", self._who(service), chosen)
            return chosen
        raise NoCommonVersion(f"{self._who(service)} serves neither {' nor '.join(f'CRI {v}' for v in API_VERSIONS)}")

    def _raise_if_version_is_gone(self, service: ServiceName, version: ApiVersion) -> Plan[None]:
        """After an UNIMPLEMENTED: is it the RPC that the runtime lacks, or, since it was replaced, the version?"""
        probe = _PROBES[service]
        try:
            yield from _ask(Call(probe, version, probe.request(), self._timeout))
        except Unimplemented:
            raise RestartNeeded(
                f"{self._who(service)} no longer serves CRI {version}, which was chosen when this client first "
                "connected: restart this program to negotiate anew"
            ) from None
        except PodwrightError as error:
            logger.debug("%s: cannot tell whether CRI %s is still served: %s", self._who(service), version, error)

    def _require(self, method: Method, version: ApiVersion) -> None:
        if version not in method.versions:
            who = self._who(method.service)
            raise Unimplemented(f"{who} speaks CRI {version}, which has no {method.name}: it needs a newer runtime")

    def _seconds(self, method: Method, request: Message, deadline: float | None) -> float | None:
        if deadline is None:
            return kubelet_deadline(method.name, request, self._timeout)
        return None if math.isinf(deadline) else deadline

    def _who(self, service: ServiceName) -> str:
        return f'{service} at "{self.endpoints[service]}"'


def _ask(call: Call) -> Plan[Message]:
    answer = yield call
    assert answer is not None
    return answer


def kubelet_deadline(name: str, request: Message, timeout: float) -> float | None:
    """How long a kubelet with runtimeRequestTimeout `timeout` waits for an answer, in seconds; None for ever.

    Seen with kubelet 1.36. It checkpoints with the same rule as it execs, only that there no time-out is no reason to
    wait for ever.
    """
    own = getattr(request, "timeout", 0)
    match name:
        case "PullImage" | "GetContainerEvents":
            return None
        case "RunPodSandbox":
            return 2 * timeout
        case "ExecSync":
            return timeout + own if own else None
        case "StopContainer" | "CheckpointContainer":
            return timeout + own
    return timeout
