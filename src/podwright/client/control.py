"""Podwright's own service beside the CRI, for the runtimes that are Podwright: images of the disk, pulls, checks.

Every call of another runtime raises Unimplemented. Paths are those of the machine that the daemon runs on.
"""

from collections.abc import Iterator
from typing import Any, Self, TypeVar, cast

import grpc
from google.protobuf.message import Message

from podwright.client.channel import OPTIONS, translate
from podwright.client.endpoint import Endpoint
from podwright.control import v1
from podwright.control.methods import METHODS

Answer = TypeVar("Answer", bound=Message)

_CHECK_SECONDS = 60.0
"""Long enough for each program that the daemon asks for its version."""


class Control:
    """A connection to the service; close it, or use it in a `with`. Safe to use from many threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel = grpc.insecure_channel(endpoint.target, options=OPTIONS)

    def close(self) -> None:
        """Ends the connection and all calls in flight."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load_image(self, path: str, *, name: str = "", config: bytes = b"") -> list[str]:
        """Takes images from an OCI layout, a docker archive or the directory of a root file system; returns their ids.

        `name` is for what does not bring its own, `config` is the OCI image configuration of a root file system.
        """
        request = v1.LoadImageRequest(path=path, name=name, config=config)
        return list(self._unary("LoadImage", request, v1.LoadImageResponse).image_ids)

    def save_image(self, image: str, path: str) -> None:
        """Writes an image as an OCI layout into a directory that is empty or does not exist."""
        self._unary("SaveImage", v1.SaveImageRequest(image=image, path=path), v1.SaveImageResponse)

    def check(self) -> list[v1.Finding]:
        """What the daemon finds when it looks at its host."""
        return list(self._unary("Check", v1.CheckRequest(), v1.CheckResponse, timeout=_CHECK_SECONDS).findings)

    def watch_pulls(self, image: str = "") -> Iterator[v1.WatchPullsResponse]:
        """How far the pull of an image is, or how far all pulls are, several times a second, until there is none."""
        stream = self._send("WatchPulls", v1.WatchPullsRequest(image=image))
        try:
            yield from stream
        except grpc.RpcError as error:
            raise self._translated(error, "WatchPulls") from None
        finally:
            stream.cancel()

    def _unary(self, name: str, request: Message, response: type[Answer], *, timeout: float | None = None) -> Answer:
        try:
            answer = self._send(name, request, timeout)
        except grpc.RpcError as error:
            raise self._translated(error, name) from None
        assert isinstance(answer, response)
        return answer

    def _send(self, name: str, request: Message, timeout: float | None = None) -> Any:  # noqa: ANN401
        """The answer, or an iterator of answers that raises as it goes."""
        method = METHODS[name]
        connect = self._channel.unary_stream if method.streams else self._channel.unary_unary
        return connect(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )(request, timeout=timeout)

    def _translated(self, error: grpc.RpcError, name: str) -> Exception:
        call = cast("grpc.Call", error)
        return translate(call.code(), call.details(), METHODS[name].path, self._endpoint)
