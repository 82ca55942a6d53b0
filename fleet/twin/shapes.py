"""How rows are read from SQLite and written to it without the layers above.

What these prepare for each row costs ten times what SQLite does with it, and is the same each time.
"""

from collections.abc import Callable
from functools import cache
from sqlite3 import Connection
from typing import Any, cast

from sqlalchemy import ClauseElement, Dialect, Table, bindparam, insert, inspect, select, update
from sqlalchemy.orm import Mapper, Session, make_transient, make_transient_to_detached
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.types import TypeEngine

Raw = tuple[Any, ...]
Making = Callable[[Any], Any]


class Shape:
    """A table: its columns, which of them are the key, and how their values are kept."""

    def __init__(self, mapper: Mapper[Any], dialect: Dialect) -> None:
        """See what the table is made of."""
        self._mapper, self._table = mapper, cast("Table", mapper.local_table)
        columns, number = list(self._table.columns), self._table.autoincrement_column
        self.width = len(columns)
        self._key = [at for at, one in enumerate(columns) if one.primary_key]
        self._keys = [columns[at].key for at in self._key]
        self._number = None if number is None else number.key  # given by SQLite
        self._made = [(one.key, made(one.type, dialect)) for one in columns]
        self._told = {one.key: told(one.type, dialect) for one in columns}
        self._given = [one.key for one in columns if one.key != self._number]

        def text(statement: ClauseElement, names: list[str] | None = None) -> str:
            return str(statement.compile(dialect=dialect, column_keys=names))

        is_it = [columns[at] == bindparam(f"the_{columns[at].key}") for at in self._key]
        self._find = text(select(self._table).where(*is_it))
        self._insert = text(insert(self._table), self._given)
        change = update(self._table).where(*is_it)
        self._update = cache(lambda names: text(change, list(names)))

    def key(self, raw: Raw, at: int) -> Any:
        """Return the key by which a session holds the row that begins at a place of an answer."""
        values = tuple([raw[at + number] for number in self._key])
        return self._mapper.identity_key_from_primary_key(values)

    def find(self, database: Connection, ident: tuple[Any, ...]) -> Raw | None:
        """Ask for the row of a primary key."""
        key = [self._told[name](one) for name, one in zip(self._keys, ident, strict=True)]
        found: Raw | None = database.execute(self._find, key).fetchone()
        return found

    def make(self, session: Session, raw: Raw, at: int) -> Any:
        """Make the row that begins at a place of an answer, for a session to hold."""
        row = self._mapper.class_manager.new_instance()
        values = inspect(row).dict
        for number, (name, of) in enumerate(self._made, at):
            values[name] = raw[number] if of is None else of(raw[number])
        make_transient_to_detached(row)
        session.add(row)
        return row

    def insert(self, session: Session, database: Connection, row: Any) -> None:
        """Write a new row."""
        values = inspect(row).dict
        told = [self._told[name](values[name]) for name in self._given]
        written = database.execute(self._insert, told)
        if self._number is not None:
            setattr(row, self._number, written.lastrowid)
        make_transient(row)
        make_transient_to_detached(row)
        session.add(row)

    def update(self, session: Session, database: Connection, row: Any) -> bool:
        """Write what was changed of a row; False if nothing was.

        Raises:
            StaleDataError: it is not there.
        """
        state = inspect(row)
        values, before = state.dict, state.committed_state
        changed = [one for one in self._told if one in before and before[one] != values[one]]
        if changed:
            told = [self._told[name](values[name]) for name in (*changed, *self._keys)]
            if database.execute(self._update(tuple(changed)), told).rowcount != 1:
                raise StaleDataError(f"a row of {self._table} was changed and is not there")
        state._commit_all(values, session.identity_map)  # noqa: SLF001 - it is as it is written
        return bool(changed)


def made(kind: TypeEngine[Any], dialect: Dialect) -> Making | None:
    """Return what makes a value of what SQLite answers; None where that is the value."""
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def told(kind: TypeEngine[Any], dialect: Dialect) -> Making:
    """Return what makes of a value what SQLite is told."""
    return kind.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
