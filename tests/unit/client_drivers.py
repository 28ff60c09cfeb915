"""The two clients behind one face, so that each test says once what holds for both."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from podwright.client import AsyncClient, Client
from podwright.cri.methods import ApiVersion, ServiceName


class Blocking:
    """podwright.client.Client."""

    def __init__(self, endpoint: str, **options: Any) -> None:
        self._client = Client(endpoint, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @property
    def api_versions(self) -> Mapping[ServiceName, ApiVersion]:
        return self._client.api_versions

    def connect(self, **options: Any) -> None:
        self._client.connect(**options)

    def call(self, name: str, *arguments: Any, **fields: Any) -> Any:
        return getattr(self._client, name)(*arguments, **fields)

    def stream(self, name: str, *arguments: Any, **fields: Any) -> Iterator[Any]:
        answers: Iterator[Any] = getattr(self._client, name)(*arguments, **fields)
        return answers


class Awaited:
    """podwright.client.AsyncClient, on an event loop of its own."""

    def __init__(self, endpoint: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(endpoint, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    @property
    def api_versions(self) -> Mapping[ServiceName, ApiVersion]:
        return self._client.api_versions

    def connect(self, **options: Any) -> None:
        self._runner.run(self._client.connect(**options))

    def call(self, name: str, *arguments: Any, **fields: Any) -> Any:
        return self._runner.run(getattr(self._client, name)(*arguments, **fields))

    def stream(self, name: str, *arguments: Any, **fields: Any) -> Iterator[Any]:
        answers: AsyncIterator[Any] = getattr(self._client, name)(*arguments, **fields)
        while True:
            try:
                yield self._runner.run(_next(answers))
            except StopAsyncIteration:
                return


async def _next(answers: AsyncIterator[Any]) -> Any:
    return await anext(answers)


Driver = Blocking | Awaited
DRIVERS: tuple[type[Blocking] | type[Awaited], ...] = (Blocking, Awaited)
