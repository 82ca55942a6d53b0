"""Opening the store, on SQLite or PostgreSQL.

Rules this module keeps:

- A unit of work is one ``with store.write()``: it commits at the end or changes nothing.
- On SQLite a write takes the write lock at its beginning (``BEGIN IMMEDIATE``): a lock taken later
  cannot wait for another writer and fails at once instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlmodel import Session

from fleet.store.clock import Clock, DatabaseClock

_BUSY_MS = 15_000


class Store:
    """An engine and a clock."""

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        """Open the store at ``url`` (SQLAlchemy's form); the tables must exist."""
        self.engine = _engine(url)
        self.clock = clock or DatabaseClock()
        self._reading = self.engine.execution_options(fleet_reading=True)
        if self.engine.dialect.name == "postgresql":
            # Else each query of a view would see another moment.
            self._reading = self._reading.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a unit of work."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a consistent view that changes nothing."""
        with Session(self._reading, expire_on_commit=False) as session:
            yield session

    def now(self, session: Session) -> datetime:
        """Return the present moment."""
        return self.clock.now(session)

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


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
    engine = create_engine(url, connect_args={"timeout": _BUSY_MS / 1000}, pool_size=20)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # BEGIN is ours to send, below
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("fleet_reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine
