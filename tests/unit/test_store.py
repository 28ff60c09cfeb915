"""state/store.py: transactions that survive, failures that stay with their cause."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from podwright.errors import FailedPrecondition, Internal
from podwright.state.store import SCHEMA, Store

RESOURCE = "INSERT INTO resource VALUES (?, ?, ?, ?)"


def rows(path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT seq, owner FROM resource ORDER BY seq").fetchall()
    connection.close()
    return found


def test_a_write_is_there_for_another_connection_when_it_returns(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state.db"))

    async def scenario() -> None:
        await store.write((RESOURCE, (1, "a", "pin", b"{}")))
        assert rows(tmp_path / "state.db") == [(1, "a")]
        await store.write((RESOURCE, (2, "b", "pin", b"{}")), durable=True)
        assert rows(tmp_path / "state.db") == [(1, "a"), (2, "b")]

    asyncio.run(scenario())
    store.close()


def test_writes_at_the_same_time_keep_their_order_and_a_faulty_one_spoils_no_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state.db"))

    async def scenario() -> list[BaseException | None]:
        good = [store.write((RESOURCE, (n, str(n), "pin", b"{}"))) for n in range(1, 50)]
        half = store.write((RESOURCE, (100, "half", "pin", b"{}")), (RESOURCE, (1, "again", "pin", b"{}")))
        return await asyncio.gather(
            *good, half, store.write((RESOURCE, (51, "51", "pin", b"{}"))), return_exceptions=True
        )

    results = asyncio.run(scenario())
    store.close()
    failures = [result for result in results if result is not None]
    assert len(failures) == 1
    assert isinstance(failures[0], Internal)
    assert "UNIQUE" in str(failures[0])
    assert rows(tmp_path / "state.db") == [(n, str(n)) for n in [*range(1, 50), 51]]


@pytest.mark.parametrize("value", ["\udc80", 2**63], ids=["no text", "too large"])
def test_what_sqlite_cannot_hold_is_a_failure_of_one_write_only(tmp_path: Path, value: str | int) -> None:
    store = Store(str(tmp_path / "state.db"))
    odd = ("INSERT INTO resource (owner, kind, args) VALUES ('odd', 'pin', ?)", (value,))

    async def scenario() -> tuple[BaseException | None, BaseException | None]:
        return await asyncio.wait_for(
            asyncio.gather(
                store.write((RESOURCE, (1, "half", "pin", b"{}")), odd),
                store.write((RESOURCE, (2, "whole", "pin", b"{}"))),
                return_exceptions=True,
            ),
            timeout=10,
        )

    failure, success = asyncio.run(scenario())
    store.close()
    assert isinstance(failure, Internal)
    assert success is None
    assert rows(tmp_path / "state.db") == [(2, "whole")]


def test_a_cancelled_caller_leaves_its_statements_to_be_committed(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state.db"))

    async def scenario() -> None:
        task = asyncio.create_task(store.write((RESOURCE, (1, "a", "pin", b"{}"))))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    store.close()
    assert rows(tmp_path / "state.db") == [(1, "a")]


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    Store(str(tmp_path / "state.db")).close()
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute(f"PRAGMA user_version = {len(SCHEMA) + 1}")
    connection.close()
    with pytest.raises(FailedPrecondition, match="newer"):
        Store(str(tmp_path / "state.db"))


def test_what_was_written_is_read_at_the_next_start(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "state.db"))
    asyncio.run(store.write((RESOURCE, (7, "a", "pin", b"{}"))))
    store.close()
    again = Store(str(tmp_path / "state.db"))
    assert again.read("SELECT seq FROM resource WHERE owner = ?", "a") == [(7,)]
    again.close()
