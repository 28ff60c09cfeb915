"""From gRPC to a handler and back: one way for all RPCs and both API versions.

Here, and only here, a request gets its id, is logged and timed, failures become gRPC statuses, work outlives its
caller where the method table says so, and a missing object is a success where the protocol says so. Handlers are in
modules named after their object and verb (sandbox_run.py, container_stop.py ...).
"""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from podwright.core.runtime import Runtime
from podwright.cri.methods import ApiVersion
from podwright.errors import Code, InvalidArgument, NotFound, PodwrightError
from podwright.log import request_id
from podwright.trace import Request, request_listeners

logger = logging.getLogger(__name__)

MESSAGE_BYTES = 6000
"""Longest message of a status. gRPC's C library takes eight kilobytes of metadata for sure, and gives its callers
another error instead of more.
"""

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may know of the call besides its request."""

    version: ApiVersion


Unary = Callable[[Runtime, Any, Call], Awaitable[Message | bytes]]
"""Answers with a message, or with its serialised form where that is kept ready."""
Streaming = Callable[[Runtime, Any, Call], AsyncIterator[Message | bytes]]


class Rpc(Protocol):
    """What the dispatcher has to know of an RPC; cri/methods.py says what it means."""

    @property
    def name(self) -> str: ...
    @property
    def request(self) -> type[Message]: ...
    @property
    def response(self) -> type[Message]: ...
    @property
    def streams(self) -> bool: ...
    @property
    def missing_is_success(self) -> bool: ...
    @property
    def finishes_alone(self) -> bool: ...


def service(
    runtime: Runtime, name: str, rpcs: Iterable[Rpc], handlers: Mapping[str, Unary | Streaming], call: Call
) -> grpc.GenericRpcHandler:
    """A gRPC service with those of `rpcs` that have a handler; the others are unimplemented."""
    served = {rpc.name: _serve(runtime, rpc, handlers[rpc.name], call) for rpc in rpcs if rpc.name in handlers}
    return grpc.method_handlers_generic_handler(name, served)


def _serve(runtime: Runtime, rpc: Rpc, handler: Any, call: Call) -> "grpc.RpcMethodHandler[bytes, bytes]":  # noqa: ANN401
    # Bytes in, bytes out: a request that does not parse gets a status of ours, and lists are kept serialised.
    if rpc.streams:
        # Sent from here, not yielded: gRPC drops a generator whose client has left, and what it holds is then released
        # when and where the interpreter likes.
        async def stream(raw: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
            async with (
                _answering(rpc, call, context),
                contextlib.aclosing(handler(runtime, _parse(rpc, raw), call)) as responses,
            ):
                async for response in responses:
                    await _send(_serialised(response), context)

        return grpc.unary_stream_rpc_method_handler(stream)

    async def unary(raw: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        async with _answering(rpc, call, context):
            return _serialised(await _run(runtime, rpc, handler, _parse(rpc, raw), call))
        raise AssertionError("a failure ends by abort")

    return grpc.unary_unary_rpc_method_handler(unary)


async def _run(runtime: Runtime, rpc: Rpc, handler: Unary, request: Message, call: Call) -> Message | bytes:
    work = handler(runtime, request, call)
    try:
        if rpc.finishes_alone:
            # A deadline that passes cancels us, not the work.
            return await asyncio.shield(runtime.operations.detach(_coroutine(work), rpc.name))
        return await work
    except NotFound:
        if rpc.missing_is_success:
            return rpc.response()
        raise


async def _send(response: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
    try:
        await context.write(response)
    except grpc.aio.InternalError:
        raise asyncio.CancelledError("the client has left") from None


async def _coroutine(work: Awaitable[Message | bytes]) -> Message | bytes:
    return await work


def _parse(rpc: Rpc, raw: bytes) -> Message:
    try:
        return rpc.request.FromString(raw)
    except DecodeError as error:  # also for text that is not UTF-8
        raise InvalidArgument(
            f"{rpc.name}: the request is not a valid {rpc.request.DESCRIPTOR.name}: {error}"
        ) from None


def _serialised(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


@contextlib.asynccontextmanager
async def _answering(rpc: Rpc, call: Call, context: "grpc.aio.ServicerContext[bytes, bytes]") -> AsyncIterator[None]:
    token = request_id.set(f"{next(_numbers):x}")
    request = Request(rpc.name, _metadata(context) if request_listeners else {})
    for listener in request_listeners:
        listener.begin(request)
    started = time.monotonic()
    failure: BaseException | None = None
    try:
        yield
    except asyncio.CancelledError as error:
        failure, request.code = error, Code.CANCELLED.name
        raise
    except PodwrightError as error:
        failure, request.code = error, error.code.name
        await _abort(context, error.code, describe(error))
    except Exception as error:
        failure, request.code = error, Code.INTERNAL.name
        logger.exception("%s: internal error", rpc.name)
        await _abort(context, Code.INTERNAL, f"internal error: {type(error).__name__}: {error}")
    finally:
        request.seconds = time.monotonic() - started
        for listener in request_listeners:
            listener.end(request)
        level = logging.INFO if failure is not None or rpc.finishes_alone else logging.DEBUG
        outcome = "ok" if failure is None else f"{type(failure).__name__}: {failure}"
        logger.log(level, "%s (%s): %s, %.1f ms", rpc.name, call.version, outcome, request.seconds * 1000)
        request_id.reset(token)


def _metadata(context: "grpc.aio.ServicerContext[bytes, bytes]") -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


async def _abort(context: "grpc.aio.ServicerContext[bytes, bytes]", code: Code, message: str) -> NoReturn:
    await context.abort(_CODES[code], fitting(message))
    raise AssertionError("abort does not return")


def fitting(message: str) -> str:
    """The message; where it is too long for a gRPC status, without its middle."""
    text = message.encode(errors="replace").decode()  # names of files may have what is no Unicode
    if _sent_bytes(text) <= MESSAGE_BYTES:
        return text
    return f"{_beginning(text)} … {_beginning(text[::-1])[::-1]}"


def _beginning(text: str) -> str:
    """As much as may stand before, or after, what is left out."""
    room = MESSAGE_BYTES // 2
    for end, character in enumerate(text):
        room -= _sent_bytes(character)
        if room < 0:
            return text[:end]
    return text


def _sent_bytes(text: str) -> int:
    """What a text takes as grpc-message: all but plain ASCII is sent as %XX (gRPC over HTTP2, Responses)."""
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode())


def describe(error: BaseException) -> str:
    """The message, and what else went wrong while it was dealt with (its notes)."""
    return "; ".join([str(error), *getattr(error, "__notes__", [])])
