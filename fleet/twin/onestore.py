"""The real store, opened by its only user: one session serves all units of work.

Rules this module keeps:

- Every unit of work commits or changes nothing, as in the store that it is.
- What a session has read stays true, because nobody else writes: so a row that one unit of work
  has read is not read again by the next.  Statements that pass by the session end that.
- What the database draws by chance comes from the seed.
"""

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Connection, event
from sqlmodel import Session

from fleet.store.clock import Clock
from fleet.store.columns import ids_from
from fleet.store.database import Store
from fleet.store.migrate import upgrade

_KEPT_MOST = 100  # a statement that changes rows looks at each one that is kept


class _Session(Session):
    """A session that knows whether statements passed by it."""

    passed_by = False

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        self.passed_by = True
        return super().connection(*args, **kwargs)


class OneStore(Store):
    """A store for one thread of one process."""

    def __init__(self, url: str, clock: Clock, rng: Random) -> None:
        """Open the store at ``url``; the tables must exist."""
        super().__init__(url, clock)
        self._session = _Session(self.engine, expire_on_commit=False)
        self._kept: dict[int, object] = {}  # a session alone keeps its rows by weak references
        for came in ("loaded_as_persistent", "pending_to_persistent"):
            event.listen(self._session, came, self._keep)

        @event.listens_for(self.engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            connection.create_function("random", 0, lambda: rng.getrandbits(63))

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a unit of work."""
        try:
            with self._session.begin():
                yield self._session
        except BaseException:
            self._forget()
            raise
        if self._session.passed_by or len(self._kept) > _KEPT_MOST:
            self._forget()

    def read(self) -> Any:
        """Open a view; there are no others whose writing it could hold up."""
        return self.write()

    def close(self) -> None:
        """Give all connections back."""
        self._session.close()
        super().close()

    def _keep(self, _session: Session, row: object) -> None:
        self._kept[id(row)] = row

    def _forget(self) -> None:
        self._session.expunge_all()
        self._session.passed_by = False
        self._kept.clear()


@contextmanager
def opened(clock: Clock, seed: int) -> Iterator[OneStore]:
    """Make an empty store, in memory where the machine has a place for that; then remove it.

    Meanwhile all that the centre draws by chance, its ids among it, follows from ``seed``.
    """
    shared, state = Path("/dev/shm"), random.getstate()  # noqa: S108 - in a folder of our own there
    random.seed(seed)
    folder = Path(tempfile.mkdtemp(prefix="fleet-twin-", dir=shared if shared.is_dir() else None))
    try:
        url = f"sqlite:///{folder / 'fleet.db'}"
        upgrade(url)
        store = OneStore(url, clock, Random(seed))  # noqa: S311 - a model, not a secret
        try:
            with ids_from(count(1)):
                yield store
        finally:
            store.close()
    finally:
        random.setstate(state)
        shutil.rmtree(folder, ignore_errors=True)
