"""The only session of a store: what it has read it does not read again.

Rules this module keeps:

- Nobody else writes, so what was read is true until this session writes: a statement is put again
  only once one of its tables was written, and a row that is held is taken as it is.  Rows are
  neither locked nor read anew.
- A table is also written by the triggers of others: the database itself says which.
- What was changed is written when a statement reads its table, and at the end; by the layers above
  only where it may be undone within a unit of work, or is deleted.
- Once something was undone, nothing is known of what was answered.
- Statements that pass by the session change rows that it holds: those of their tables are let go
  at the end of the unit of work.
- What is known of a statement goes with it; one that is put for the first time is put as it is.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from itertools import chain
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import CompoundSelect, Connection, Select, UpdateBase, event, inspect
from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlmodel import Session, SQLModel
from sqlmodel.sql.expression import SelectOfScalar

from fleet.store.tables import Site
from fleet.twin.questions import Question
from fleet.twin.shapes import Raw, Shape

_KEPT_MOST = 5000  # rows; statements that change rows look at each one that is kept
_ANSWERS_MOST = 100  # of one statement that are kept
_MAPPERS = list(inspect(Site).registry.mappers)
_TABLES = {one.class_: str(one.local_table) for one in _MAPPERS}
_ORDER = {str(one): at for at, one in enumerate(SQLModel.metadata.sorted_tables)}
_LASTING = frozenset(  # few, and never let go
    ("budget", "fixity", "incident", "office", "provider", "site", "usual", "window")
)
_TRIGGERS = "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
_WRITES = re.compile(r"\b(?:INTO|UPDATE|DELETE\s+FROM)\s+(\w+)")


class Answer(list[Any]):
    """What a statement returned, as often as it is wanted."""

    def all(self) -> list[Any]:
        """Return all rows."""
        return list(self)

    def first(self) -> Any:
        """Return the first row, or None."""
        return self[0] if self else None

    def one(self) -> Any:
        """Return the only row."""
        if not self:
            raise NoResultFound("a row was wanted, and there is none")
        return self.one_or_none()

    def one_or_none(self) -> Any:
        """Return the only row, or None."""
        if len(self) > 1:
            raise MultipleResultsFound(f"one row was wanted, and there are {len(self)}")
        return self.first()

    def scalars(self) -> "Answer":
        """Return the first value of each row."""
        return Answer(row[0] for row in self)


class _Known:
    """What is known of a statement that was put before."""

    def __init__(self) -> None:
        self.question: Question | None = None
        self.answers: dict[tuple[object, ...], tuple[int, Answer]] = {}


class OneSession(Session):
    """A session that is the only one of its store."""

    is_view = False

    def __init__(self, connection: Connection) -> None:
        """Use a connection that nobody else does."""
        super().__init__(connection, expire_on_commit=False)
        self._dialect: Any = connection.dialect
        self._database: Any = connection.connection.driver_connection
        self._statements: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()
        self._shapes = cache(lambda mapper: Shape(mapper, self._dialect))
        self._deletes = False
        self._noted = _noted(self._database)
        self._writes = self._committed = 0
        self._written: dict[str, int] = defaultdict(int)  # by table, the number of its last write
        self._knows = False  # whether what is written is the session's own doing
        self._passed_by: set[str] = set()  # tables
        self._absent: set[tuple[type, object]] = set()
        # a session alone keeps its rows by weak references
        self._kept: dict[str, dict[int, object]] = defaultdict(dict)
        came_from = ("loaded_as", "pending_to", "detached_to")
        for came in (f"{one}_persistent" for one in came_from):
            event.listen(self, came, self._keep)
        event.listen(self, "after_soft_rollback", self._undone)
        event.listen(connection, "before_execute", self._note)

    def exec(self, statement: Any, *, params: Any = None, **kwargs: Any) -> Any:
        """Put a statement, unless its answer is known."""
        put = partial(super().exec, statement, params=params, **kwargs)
        return self._ask(statement, params, put, scalars=isinstance(statement, SelectOfScalar))

    def execute(self, statement: Any, params: Any = None, **kwargs: Any) -> Any:
        """Put a statement, unless its answer is known; the session's own come with options."""
        put = partial(super().execute, statement, params, **kwargs)
        return put() if kwargs else self._ask(statement, params, put, scalars=False)

    def get(self, entity: Any, ident: Any, **_kwargs: Any) -> Any:
        """Return a row, or None."""
        if ident is None or (entity, ident) in self._absent:
            return None
        mapper, table = inspect(entity), _TABLES[entity]
        held = self.identity_map.get(mapper.identity_key_from_primary_key(_tuple(ident)))
        if held is not None:
            return held
        if self._waits() and table in self._changed():
            self.flush()
        shape = self._shapes(mapper)
        raw = shape.find(self._database, _tuple(ident))
        if raw is not None:
            return self._row(shape, raw, 0)
        if table in _LASTING:
            self._absent.add((entity, ident))
        return None

    def get_one(self, entity: Any, ident: Any, **_kwargs: Any) -> Any:
        """Return a row that is there."""
        self._absent.discard((entity, ident))
        return super().get_one(entity, ident)

    def flush(self, *args: Any, **kwargs: Any) -> None:
        """Write what was changed; the real store would drop what a view changes."""
        if not self._waits():
            return
        if self.is_view:
            raise AssertionError("a view changed something")
        if self.deleted or self.in_nested_transaction():  # what may be undone is not ours to write
            self._deletes = True
            self._knowing(partial(super().flush, *args, **kwargs))
        else:
            self._write()

    def commit(self) -> None:
        """Write what was changed for good; the layers above go on in what is one unit to them."""
        self.flush()
        if self._deletes:
            self._deletes = False
            super().commit()
        elif self.in_transaction() and self._writes != self._committed:
            self._committed = self._writes
            self._database.execute("COMMIT")
            self._database.execute("BEGIN")

    def refresh(self, *args: Any, **kwargs: Any) -> None:
        """Leave a row as it is."""

    def let_go(self) -> None:
        """Let go of the rows that may have changed, and of all once they are many."""
        kept = self._kept.keys() & self._passed_by
        others = self._kept.keys() - _LASTING
        if sum(len(self._kept[table]) for table in others) > _KEPT_MOST:
            kept |= others
        for table in kept:
            for row in self._kept.pop(table).values():
                if row in self:
                    self.expunge(row)
            self._wrote(table)  # what was answered are rows that it holds no more
        self._passed_by.clear()

    def rollback(self) -> None:
        """Undo what was not committed, and know nothing any more."""
        super().rollback()
        self.expunge_all()
        for known in (self._kept, self._absent, self._passed_by, self._statements):
            known.clear()

    def _ask(
        self,
        statement: Any,
        params: Mapping[str, Any] | None,
        put: Callable[[], Any],
        *,
        scalars: bool,
    ) -> Any:
        if not isinstance(statement, Select | CompoundSelect):
            return self._knowing(put)
        known = self._statements.get(statement)
        if known is None:
            self._statements[statement] = _Known()
            return put()
        question = known.question
        if question is None:
            question = known.question = Question(statement, self._dialect, self._shapes)
        if self._waits() and self.autoflush and not question.tables.isdisjoint(self._changed()):
            self.flush()
        params = params or {}
        key = (scalars, *params, *map(_fixed, params.values()))
        last = max(map(self._written.__getitem__, question.tables))
        if (before := known.answers.get(key)) is not None and before[0] >= last:
            return before[1]
        if len(known.answers) >= _ANSWERS_MOST:
            known.answers.clear()
        rows = self._read(question, params, scalars=scalars)
        answer = Answer(put().all() if rows is None else rows)
        known.answers[key] = self._writes, answer
        return answer

    def _read(
        self, question: Question, params: Mapping[str, Any], *, scalars: bool
    ) -> Iterable[Any] | None:
        """Ask for rows; None if those that are held of a table may have changed."""
        if not question.held.isdisjoint(self._passed_by):
            return None
        rows = question.put(self._database, params, self._row)
        return (row[0] for row in rows) if scalars else map(question.row, rows)

    def _row(self, shape: Shape, raw: Raw, at: int) -> Any:
        """Return the row that begins at a place of an answer: that which is held, or a new one."""
        held = self.identity_map.get(shape.key(raw, at))
        return shape.make(self, raw, at) if held is None else held

    def _write(self) -> None:
        """Write rows as the session would: table after table, what is there before what is new."""
        if not self.in_transaction():
            self.connection()
        rows = [
            (_ORDER[_TABLES[type(row)]], is_new, row)
            for is_new, some in enumerate((self.dirty, self.new))
            for row in some
        ]
        for _, is_new, row in sorted(rows, key=itemgetter(0, 1)):
            shape = self._shapes(inspect(type(row)))
            if is_new:
                shape.insert(self, self._database, row)
            elif not shape.update(self, self._database, row):
                continue
            self._wrote(_TABLES[type(row)])

    def _waits(self) -> bool:
        """Whether anything was changed and is not written yet."""
        return bool(self.identity_map.check_modified() or self.new or self.deleted)

    def _changed(self) -> set[str]:
        """Name the tables that are written once the rows are that were changed."""
        changed = {_TABLES[type(row)] for row in chain(self.new, self.dirty, self.deleted)}
        return changed.union(*map(self._noted.__getitem__, changed))

    def _knowing(self, act: Callable[[], Any]) -> Any:
        """Let the session itself write: it knows then what became of its rows."""
        before, self._knows = self._knows, True
        try:
            return act()
        finally:
            self._knows = before

    def _note(self, _connection: Connection, statement: Any, *_: object) -> None:
        """Note what is about to be written."""
        if isinstance(statement, UpdateBase):
            table = str(statement.table)
            self._wrote(table)
            if not self._knows:
                self._passed_by.add(table)

    def _wrote(self, table: str) -> None:
        self._writes += 1
        self._written[table] = self._writes
        for noted in self._noted[table]:
            self._written[noted] = self._writes

    def _undone(self, *_: object) -> None:
        self._absent.clear()
        for known in self._statements.values():
            known.answers.clear()

    def _keep(self, _session: Session, row: Any) -> None:
        self._kept[_TABLES[type(row)]][id(row)] = row
        key = inspect(row).identity
        self._absent.discard((type(row), key[0] if len(key) == 1 else key))


def _noted(database: Any) -> dict[str, set[str]]:
    """Map each table to those that its triggers write, and theirs."""
    noted = defaultdict[str, set[str]](set)
    for table, text in database.execute(_TRIGGERS):
        noted[table].update(_WRITES.findall(text.partition("BEGIN")[2]))
    for _ in noted:
        for written in noted.values():
            written.update(*(noted.get(table, ()) for table in written))
    return noted


def _fixed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _tuple(ident: Any) -> tuple[Any, ...]:
    return ident if isinstance(ident, tuple) else (ident,)
