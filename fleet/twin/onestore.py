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

from sqlalchemy import Connection, event, inspect
from sqlmodel import Session

from fleet.store.clock import Clock
from fleet.store.columns import ids_from
from fleet.store.database import Store
from fleet.store.migrate import upgrade
from fleet.store.tables import Budget, Fixity, Office, Provider, Site, Usual

_KEPT_MOST = 200  # a statement that changes rows looks at each one that is kept
_PRAGMAS = ("locking_mode=EXCLUSIVE", "synchronous=OFF")  # for nobody else, and thrown away
_LASTING = (Budget, Fixity, Office, Provider, Site, Usual)  # few, and no statement passes by them


class _Session(Session):
    """A session that knows whether statements passed by it, and that never looks twice.

    Rows are neither locked nor read anew: there is nobody else.
    """

    passed_by = False
    is_view = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._absent: set[tuple[type, object]] = set()
        event.listen(self, "pending_to_persistent", self._is_there)

    def get(self, entity: Any, ident: Any, **_kwargs: Any) -> Any:
        """Return a row, or None."""
        if (entity, ident) in self._absent:
            return None
        row = super().get(entity, ident)
        if row is None and entity in _LASTING:
            self._absent.add((entity, ident))
        return row

    def get_one(self, entity: Any, ident: Any, **_kwargs: Any) -> Any:
        """Return a row that is there."""
        self._absent.discard((entity, ident))
        return super().get_one(entity, ident)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        """Write what was changed; the real store would drop what a view changes."""
        if self.is_view and (self.new or self.dirty or self.deleted):
            raise AssertionError("a view changed something")
        super().flush(*args, **kwargs)

    def refresh(self, *args: Any, **kwargs: Any) -> None:
        """Leave a row as it is."""

    def connection(self, *args: Any, **kwargs: Any) -> Connection:
        """Return the connection, by which rows can change that this session has read."""
        self.passed_by = True
        return super().connection(*args, **kwargs)

    def _is_there(self, _session: Session, row: object) -> None:
        key = inspect(row).identity
        self._absent.discard((type(row), key[0] if len(key) == 1 else key))


class OneStore(Store):
    """A store for one thread of one process."""

    def __init__(self, url: str, clock: Clock, rng: Random) -> None:
        """Open the store at ``url``; the tables must exist."""
        super().__init__(url, clock)
        self._session = _Session(self.engine, expire_on_commit=False)
        # a session alone keeps its rows by weak references
        self._kept: dict[int, object] = {}
        self._lasting: dict[int, object] = {}
        for came in ("loaded_as_persistent", "pending_to_persistent"):
            event.listen(self._session, came, self._keep)

        @event.listens_for(self.engine, "connect")
        def _connect(connection: Any, _record: Any) -> None:
            connection.create_function("random", 0, lambda: rng.getrandbits(63))
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a unit of work."""
        with self._undone_if_it_fails():
            yield self._session
            self._session.commit()
        if self._session.passed_by or len(self._kept) > _KEPT_MOST:
            self._forget()

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
            self._session.expunge_all()
            self._kept.clear()
            self._lasting.clear()
            raise

    def close(self) -> None:
        """Give all connections back."""
        self._session.close()
        super().close()

    def _keep(self, _session: Session, row: object) -> None:
        kept = self._lasting if isinstance(row, _LASTING) else self._kept
        kept[id(row)] = row

    def _forget(self) -> None:
        for row in self._kept.values():
            if row in self._session:
                self._session.expunge(row)
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
