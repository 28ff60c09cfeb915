"""state.db: SQLite in WAL mode, with one thread that writes.

Writes asked for at the same time go into one transaction (group commit). They survive a kill of the daemon as soon as
`write` returns; those with durable=True survive a power loss too. Reads happen once, at start: memory answers
everything else.

Owns the schema and nothing of what the rows mean.
"""

import asyncio
import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from podwright.errors import FailedPrecondition, Internal

logger = logging.getLogger(__name__)

Value = str | int | bytes | None
Statement = tuple[str, Sequence[Value]]

SCHEMA: tuple[str, ...] = (
    # Version 1. A later version appends an entry; entries that a release has carried are never changed.
    """
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE sandbox (
        id TEXT PRIMARY KEY, config BLOB NOT NULL, facts BLOB NOT NULL, status BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE container (
        id TEXT PRIMARY KEY, sandbox TEXT NOT NULL, config BLOB NOT NULL, facts BLOB NOT NULL, status BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE timeline (owner TEXT PRIMARY KEY, stages BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE resource (seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, kind TEXT NOT NULL, args BLOB NOT NULL);

    CREATE TABLE layer (
        number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, inodes INTEGER NOT NULL,
        added_ns INTEGER NOT NULL, facts BLOB NOT NULL
    );
    CREATE TABLE image (id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE image_name (name TEXT PRIMARY KEY, image TEXT NOT NULL) WITHOUT ROWID;

    CREATE TABLE attachment (
        sandbox TEXT PRIMARY KEY, call BLOB NOT NULL, result BLOB, leaving INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    """,
)


_FAULTS = (sqlite3.Error, ValueError, OverflowError)
"""Of a statement: also that a text is not Unicode, or a number too large."""


@dataclass(frozen=True, slots=True)
class _Job:
    statements: tuple[Statement, ...]
    durable: bool
    done: "asyncio.Future[None]"
    loop: asyncio.AbstractEventLoop


class Store:
    """The database. Make it before the event loop runs much; `close` it last."""

    def __init__(self, path: str) -> None:
        """Opens or makes the file and brings its schema up to date. Raises FailedPrecondition if a newer Podwright
        wrote it.
        """
        self.path = path
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._migrate()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="podwright-store", daemon=True)
        self._thread.start()

    def _migrate(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(SCHEMA):
            raise FailedPrecondition(
                f"{self.path} has schema version {version}, newer than {len(SCHEMA)}: use a newer release"
            )
        for number, script in enumerate(SCHEMA[version:], start=version + 1):
            self._connection.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")

    def read(self, query: str, *parameters: Value) -> list[tuple[Value, ...]]:
        """Rows of a query. Blocking; for the start, before anything writes."""
        return self._connection.execute(query, parameters).fetchall()

    async def write(self, *statements: Statement, durable: bool = False) -> None:
        """Runs the statements in one transaction; returns when they are committed.

        A caller that is cancelled meanwhile leaves the statements to be committed all the same. Raises Internal if
        the database cannot be written.
        """
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._jobs.put(_Job(statements, durable, done, loop))
        await done

    def close(self) -> None:
        """Finishes what is queued and closes the file."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(jobs) < 64:
                    jobs.append(self._jobs.get_nowait())
            self._commit([job for job in jobs if job])
            if None in jobs:
                return

    def _commit(self, jobs: list[_Job]) -> None:
        """One transaction for all jobs, each in a savepoint of its own, so that a faulty one does not spoil the
        others.
        """
        if not jobs:
            return
        failures: dict[int, Exception] = {}
        try:
            durable = any(job.durable for job in jobs)
            if durable:
                self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.execute("BEGIN IMMEDIATE")
            for number, job in enumerate(jobs):
                try:
                    self._run(job)
                except _FAULTS as error:
                    failures[number] = error
            self._connection.execute("COMMIT")
            if durable:
                self._connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            failures = dict.fromkeys(range(len(jobs)), error)
        for number, job in enumerate(jobs):
            with contextlib.suppress(RuntimeError):  # the loop is closed: the daemon has gone
                job.loop.call_soon_threadsafe(_settle, job.done, failures.get(number), self.path)

    def _run(self, job: _Job) -> None:
        self._connection.execute("SAVEPOINT job")
        try:
            for sql, parameters in job.statements:
                self._connection.execute(sql, parameters)
        except _FAULTS:
            self._connection.execute("ROLLBACK TO job")
            raise
        finally:
            self._connection.execute("RELEASE job")


def _settle(done: "asyncio.Future[None]", failure: Exception | None, path: str) -> None:
    if done.done():  # the caller has left
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(Internal(f"cannot write {path}: {failure}"))
