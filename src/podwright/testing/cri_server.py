"""Puts a StubRuntime behind gRPC on a unix socket, in either or both API versions, with failures on demand."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self, cast

import grpc
from google.protobuf.message import Message

from podwright.cri import v1
from podwright.cri.methods import API_VERSIONS, METHODS, ApiVersion, Method
from podwright.errors import Code, PodwrightError
from podwright.testing.cri_runtime import StubRuntime

logger = logging.getLogger(__name__)

_OPTIONS = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]
_STATUSES = {status.value[0]: status for status in grpc.StatusCode}
_PATHS = {method.path(version): (method, version) for method in METHODS.values() for version in method.versions}


@dataclass(frozen=True, slots=True)
class Received:
    """A call that was served."""

    path: str
    request: Message
    deadline: float | None
    """Seconds that the caller had left, None for no limit."""


@dataclass(slots=True)
class StubServer:
    """A CRI endpoint for tests; use it in a `with`. The runtime outlives it: a second server is a restart."""

    path: str
    runtime: StubRuntime = field(default_factory=StubRuntime)
    runtime_versions: tuple[ApiVersion, ...] = API_VERSIONS
    """In which versions RuntimeService is served; none leaves it out."""
    image_versions: tuple[ApiVersion, ...] = API_VERSIONS
    without: frozenset[str] = frozenset()
    """RPCs that are not served although the stub could."""
    paths: list[str] = field(default_factory=list)
    """The gRPC paths that were asked for, in order, served or not."""
    received: list[Received] = field(default_factory=list)
    """The calls that were served, in order."""
    _failures: dict[str, tuple[Code, str]] = field(default_factory=dict)
    _held: dict[str, threading.Event] = field(default_factory=dict)
    _server: grpc.Server = field(init=False)

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(32), options=_OPTIONS)
        self._server.add_generic_rpc_handlers((cast("grpc.GenericRpcHandler", _Handlers(self._handler)),))
        self._server.add_insecure_port(f"unix:{self.path}")
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._held.values():
            held.set()
        self._server.stop(None).wait()

    @property
    def endpoint(self) -> str:
        """What a client is given."""
        return f"unix://{self.path}"

    def fail(self, name: str, code: Code, message: str) -> None:
        """From now on this RPC fails, whatever the version."""
        self._failures[name] = (code, message)

    def heal(self, name: str) -> None:
        """Ends what `fail` began."""
        del self._failures[name]

    def hold(self, name: str) -> threading.Event:
        """From now on calls of this RPC wait until the event is set."""
        self._held[name] = threading.Event()
        return self._held[name]

    def _handler(self, path: str) -> "grpc.RpcMethodHandler[Message, Message] | None":
        self.paths.append(path)
        if path not in _PATHS:
            return None
        method, version = _PATHS[path]
        served = self.runtime_versions if method.service == "RuntimeService" else self.image_versions
        if version not in served or method.name in self.without:
            return None
        behaviour = self._version_answer(version) if method.name == "Version" else self._behaviour(method)
        if behaviour is None:
            return None
        make = grpc.unary_stream_rpc_method_handler if method.streams else grpc.unary_unary_rpc_method_handler
        handle = self._streaming(path, method, behaviour) if method.streams else self._single(path, method, behaviour)
        return make(
            handle,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )

    def _behaviour(self, method: Method) -> Callable[[Message], object] | None:
        return getattr(self.runtime, method.name, None)

    def _version_answer(self, version: ApiVersion) -> Callable[[Message], object]:
        return lambda _: v1.VersionResponse(
            version="0.1.0", runtime_name=self.runtime.name, runtime_version="1.2.3", runtime_api_version=version
        )

    def _admit(self, path: str, method: Method, request: Message, context: grpc.ServicerContext) -> None:
        self.received.append(Received(path, request, context.time_remaining()))
        if method.name in self._held:
            self._held[method.name].wait()
        if method.name in self._failures:
            code, message = self._failures[method.name]
            context.abort(_STATUSES[code], message)

    def _single(
        self, path: str, method: Method, behaviour: Callable[[Message], object]
    ) -> Callable[[Message, grpc.ServicerContext], object]:
        def handle(request: Message, context: grpc.ServicerContext) -> object:
            self._admit(path, method, request, context)
            try:
                return behaviour(request)
            except PodwrightError as error:
                return context.abort(_STATUSES[error.code], str(error))

        return handle

    def _streaming(
        self, path: str, method: Method, behaviour: Callable[[Message], object]
    ) -> Callable[[Message, grpc.ServicerContext], Iterator[object]]:
        def handle(request: Message, context: grpc.ServicerContext) -> Iterator[object]:
            self._admit(path, method, request, context)
            for message in cast("Iterable[object]", behaviour(request)):
                if message is not None:
                    yield message
                elif not context.is_active():
                    return

        return handle


@dataclass(frozen=True, slots=True)
class _Handlers:
    """grpc.GenericRpcHandler, which asks for nothing but this method."""

    find: Callable[[str], "grpc.RpcMethodHandler[Message, Message] | None"]

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Message, Message] | None":
        return self.find(details.method)
