"""The real store, opened by its only user: one session serves all units of work.

Rules this module keeps:

- Its tables are those that the migrations make, copied into memory: nobody else is to read them,
  and nothing of them is to stay.
- Every unit of work commits or changes nothing, as in the store that it is.
- What its session has read stays true, because nobody else writes (see ``onesession``).
- What the database draws by chance comes from the seed.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import event
from sqlmodel import Session

from fleet.store.clock import Clock
from fleet.store.columns import ids_from
from fleet.store.database import Store
from fleet.store.migrate import upgrade
from fleet.twin.onesession import OneSession


class OneStore(Store):
    """A store for one thread of one process."""

    def __init__(self, tables: Path, clock: Clock, rng: Random) -> None:
        """Begin as what is in ``tables``, a database of SQLite's."""
        super().__init__("sqlite://", clock)

        @event.listens_for(self.engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            with closing(sqlite3.connect(tables)) as empty:
                empty.backup(connection)
            connection.create_function("random", 0, lambda: rng.getrandbits(63))

        self._connection = self.engine.connect()
        self._session = OneSession(self._connection)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a unit of work."""
        with self._undone_if_it_fails():
            yield self._session
            self._session.commit()
        self._session.let_go()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a view; the next unit of work goes on in its transaction."""
        with self._undone_if_it_fails():
            self._session.is_view = True
            try:
                yield self._session
                self._session.flush()
            finally:
                self._session.is_view = False

    @contextmanager
    def _undone_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._session.rollback()
            raise

    def close(self) -> None:
        """Give all connections back."""
        self._session.close()
        self._connection.close()
        super().close()


@contextmanager
def opened(clock: Clock, seed: int) -> Iterator[OneStore]:
    """Make an empty store.

    Meanwhile all that the centre draws by chance, its ids among it, follows from ``seed``.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        with TemporaryDirectory(prefix="fleet-twin-") as folder:
            tables = Path(folder) / "fleet.db"
            upgrade(f"sqlite:///{tables}")
            store = OneStore(tables, clock, Random(seed))  # noqa: S311 - a model, not a secret
        try:
            with ids_from(count(1)):
                yield store
        finally:
            store.close()
    finally:
        random.setstate(state)
