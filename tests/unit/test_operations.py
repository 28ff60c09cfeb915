"""core/operations.py: work that outlives its caller, is joined by the next try, and is disposed of if nobody comes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from podwright.core import operations
from podwright.core.operations import Operations
from podwright.errors import Aborted, Internal
from podwright.trace import step


class Workshop:
    """Makes things when told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.begun = 0
        self.started = asyncio.Event()
        self.disposed: list[str] = []
        self.disposal = asyncio.Event()

    async def work(self) -> str:
        self.begun += 1
        with step("workshop.wait"):
            self.started.set()
            await self.go_on.wait()
        return f"thing-{self.begun}"

    async def fail(self) -> str:
        await self.go_on.wait()
        raise Internal("broken")

    async def dispose(self, thing: str) -> None:
        self.disposed.append(thing)
        self.disposal.set()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_the_retry_after_a_deadline_joins_the_work() -> None:
    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.make("pod", b"config", shop.work, shop.dispose)
        retry = asyncio.create_task(made.make("pod", b"config", shop.work, shop.dispose))
        await asyncio.sleep(0)
        shop.go_on.set()
        assert await retry == "thing-1"
        assert shop.begun == 1

    run(scenario)


def test_a_result_that_came_too_late_is_kept_for_the_retry() -> None:
    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.make("pod", b"config", shop.work, shop.dispose)
        shop.go_on.set()
        await made.settle()
        assert await made.make("pod", b"config", shop.work, shop.dispose) == "thing-1"
        assert await made.make("pod", b"config", shop.work, shop.dispose) == "thing-2", "fetched once only"
        assert shop.disposed == []

    run(scenario)


def test_a_result_nobody_comes_for_is_disposed_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "KEEP_SECONDS", 0.01)

    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.make("pod", b"config", shop.work, shop.dispose)
        shop.go_on.set()
        await shop.disposal.wait()
        assert shop.disposed == ["thing-1"]

    run(scenario)


def test_another_configuration_is_told_the_stage() -> None:
    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        first = asyncio.create_task(made.make("pod", b"config", shop.work, shop.dispose))
        await shop.started.wait()
        assert made.stage("pod") == "workshop.wait"
        with pytest.raises(Aborted, match=r"workshop\.wait"):
            await made.make("pod", b"other", shop.work, shop.dispose)
        shop.go_on.set()
        assert await first == "thing-1"

    run(scenario)


def test_another_configuration_replaces_a_result_nobody_came_for() -> None:
    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.make("pod", b"config", shop.work, shop.dispose)
        shop.go_on.set()
        await made.settle()
        assert await made.make("pod", b"other", shop.work, shop.dispose) == "thing-2"
        assert shop.disposed == ["thing-1"]
        assert await made.make("pod", b"other", shop.work, shop.dispose) == "thing-3"

    run(scenario)


def test_a_failure_reaches_all_who_wait_and_frees_the_name() -> None:
    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        both = [asyncio.create_task(made.make("pod", b"config", shop.fail, shop.dispose)) for _ in range(2)]
        await asyncio.sleep(0)
        shop.go_on.set()
        results = await asyncio.gather(*both, return_exceptions=True)
        assert [str(result) for result in results] == ["broken", "broken"]
        assert await made.make("pod", b"other", shop.work, shop.dispose) == "thing-1"

    run(scenario)


def test_a_request_that_comes_in_the_very_moment_of_a_failure_begins_anew() -> None:
    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.make("pod", b"config", shop.fail, shop.dispose)

        async def ask() -> str:
            await shop.go_on.wait()  # wakes up right after the work
            return await made.make("pod", b"other", shop.work, shop.dispose)

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0)
        shop.go_on.set()
        assert await asking == "thing-1"

    run(scenario)


def test_detached_work_goes_on_when_its_caller_is_cancelled() -> None:
    async def scenario() -> None:
        made, shop = Operations(), Workshop()
        waiting = asyncio.ensure_future(asyncio.shield(made.detach(shop.work(), "test")))
        await asyncio.sleep(0)
        waiting.cancel()
        shop.go_on.set()
        await made.settle()
        assert shop.begun == 1

    run(scenario)
