"""Opening the store, on SQLite or PostgreSQL.

Rules this module keeps:

- A unit of work is one ``with store.write()``: it commits at the end or changes nothing.
- On SQLite a write takes the write lock at its beginning (``BEGIN IMMEDIATE``): a lock taken later
  cannot wait for another writer and fails at once instead.
- SQLite lets writers poll for their turn, up to 100 ms apart, so that one process with many units
  of work starves the others.  A file lock beside the database queues them: a heartbeat waits for
  the unit under way, not for luck.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from fleet.store.clock import Clock, DatabaseClock

_BUSY_MS = 15_000
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "cache_size=-32768",  # KiB; of SQLite's own 2 MiB a batch of the tick would use each page twice
)
_CACHED_STATEMENTS = 500  # of each connection; among Python's own 128 most are read anew


class Store:
    """An engine and a clock."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Open the store at ``url`` (SQLAlchemy's form); the tables must exist."""
        self.engine = _engine(url)
        self.clock = clock or DatabaseClock()
        name = self.engine.url.database
        is_file = self.engine.dialect.name == "sqlite" and name not in (None, "", ":memory:")
        self._queue = Path(f"{name}-queue") if is_file else None
        self._reading = self.engine.execution_options(fleet_reading=True)
        if self.engine.dialect.name == "postgresql":
            # Else each query of a view would see another moment.
            self._reading = self._reading.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a unit of work."""
        with (
            self._turn(),
            Session(self.engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a consistent view that changes nothing."""
        with Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for this writer's turn; the kernel gives it back when the process dies."""
        if self._queue is None:
            yield
            return
        with self._queue.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def now(self, session: Session) -> datetime:
        """Return the present moment."""
        return self.clock.now(session)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def is_away(error: Exception) -> bool:
    """Whether something failed for want of the database, and by no fault of its own.

    Where no connection could be made there was no statement.
    """
    return isinstance(error, DBAPIError) and (
        error.connection_invalidated or error.statement is None
    )


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(url)
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=10,
        max_overflow=20,
        pool_pre_ping=True,
    )


def _sqlite(url: str) -> Engine:
    settings = {"timeout": _BUSY_MS / 1000, "cached_statements": _CACHED_STATEMENTS}
    engine = create_engine(url, connect_args=settings, pool_size=20)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours to send, below
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("fleet_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
