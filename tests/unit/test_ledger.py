"""core/ledger.py: noted before it is made, released last made first, and nothing forgotten that could not be
released.
"""

import asyncio
from pathlib import Path

import pytest

from podwright.core.ledger import Kind, Ledger, Resource
from podwright.errors import Internal
from podwright.state.store import Store

THREE: tuple[tuple[Kind, dict[str, str]], ...] = (
    ("directory", {"path": "1"}),
    ("mount", {"path": "2"}),
    ("pin", {"path": "3"}),
)


class Host:
    """Things that can be released, and some that refuse."""

    def __init__(self) -> None:
        self.released: list[str] = []
        self.stuck: set[str] = set()
        self.waiting: set[str] = set()

    async def release(self, resource: Resource) -> None:
        path = resource.args["path"]
        if path in self.stuck:
            raise OSError(16, "busy", path)
        self.released.append(path)


def ledger(store: Store, host: Host) -> Ledger:
    made = Ledger(store)
    made.load()
    made.releases.update({"mount": host.release, "directory": host.release, "pin": host.release})
    made.has_to_wait = lambda resource: resource.args["path"] in host.waiting
    return made


def test_release_goes_backwards_and_is_remembered(tmp_path: Path) -> None:
    store, host = Store(str(tmp_path / "state.db")), Host()

    async def scenario() -> None:
        book = ledger(store, host)
        await store.write(*book.enter("a", *THREE))
        await store.write(*book.enter("b", ("mount", {"path": "other"})))
        await book.release("a", {"mount", "pin"})
        assert host.released == ["3", "2"]
        assert [r.args["path"] for r in book.of("a")] == ["1"]

        after_a_crash = ledger(store, host)
        assert [r.args["path"] for r in after_a_crash.of("a")] == ["1"]
        assert after_a_crash.owners() == {"a", "b"}

    asyncio.run(scenario())
    store.close()


def test_what_cannot_be_released_stays_and_keeps_nobody_else(tmp_path: Path) -> None:
    store, host = Store(str(tmp_path / "state.db")), Host()
    host.stuck = {"2"}

    async def scenario() -> None:
        book = ledger(store, host)
        await store.write(*book.enter("a", *THREE))
        with pytest.raises(Internal, match=r"mount 2: .*busy"):
            await book.release("a")
        assert host.released == ["3", "1"]
        host.stuck = set()
        after_a_crash = ledger(store, host)
        await after_a_crash.release("a")
        assert host.released == ["3", "1", "2"]
        assert after_a_crash.owners() == set()

    asyncio.run(scenario())
    store.close()


def test_what_has_to_wait_stays_without_a_fuss(tmp_path: Path) -> None:
    store, host = Store(str(tmp_path / "state.db")), Host()
    host.waiting = {"2"}

    async def scenario() -> None:
        book = ledger(store, host)
        await store.write(*book.enter("a", *THREE))
        await book.release("a")
        assert host.released == ["3", "1"]
        assert [r.args["path"] for r in ledger(store, host).of("a")] == ["2"]

    asyncio.run(scenario())
    store.close()


def test_numbers_are_not_used_again_while_older_rows_live(tmp_path: Path) -> None:
    store, host = Store(str(tmp_path / "state.db")), Host()

    async def scenario() -> None:
        book = ledger(store, host)
        await store.write(*book.enter("a", ("mount", {"path": "1"}), ("mount", {"path": "2"})))
        again = ledger(store, host)
        await store.write(*again.enter("a", ("mount", {"path": "3"})))
        await again.release("a")
        assert host.released == ["3", "2", "1"]

    asyncio.run(scenario())
    store.close()
