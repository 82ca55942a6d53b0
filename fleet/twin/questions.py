"""Statements that are put again and again, asked of SQLite without the layers above it.

What these prepare for a statement is the same each time, and costs ten times what the answer does:
it is made once here.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from sqlite3 import Connection
from typing import Any

from sqlalchemy import CompoundSelect, Dialect, Select, Table, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler

from fleet.twin.shapes import Making, Raw, Shape, made, told

Statement = Select[Any] | CompoundSelect[Any]
Rows = Callable[[Shape, Raw, int], Any]
_row: Any = partial(namedtuple, "Row", rename=True)  # noqa: PYI024 - it knows the names last


class Question:
    """A statement: the tables that it reads, those whose rows it asks for, and how it is put."""

    def __init__(
        self, statement: Statement, dialect: Dialect, shapes: Callable[[Mapper[Any]], Shape]
    ) -> None:
        """See what it is about."""
        parts = visitors.iterate(statement)
        self.tables = frozenset(one.name for one in parts if isinstance(one, Table))
        columns = list(statement.selected_columns)
        names = [one.key for one in columns]
        mappers: list[Mapper[Any] | None] = [None] * len(columns)
        if isinstance(statement, Select):
            wanted = statement.column_descriptions
            names = [one["name"] for one in wanted]
            mappers = [inspect(one["type"]) if _is_row(one) else None for one in wanted]
        self.held = frozenset(str(one.local_table) for one in mappers if one is not None)
        self.row: Callable[[Iterable[Any]], tuple[Any, ...]] = _row(names)._make
        self._parts: list[Callable[[Raw, Rows], Any]] = []
        at = 0
        for mapper in mappers:
            if mapper is None:
                self._parts.append(_value(at, made(columns[at].type, dialect)))
                at += 1
            else:
                shape = shapes(mapper)
                self._parts.append(_whole(shape, at))
                at += shape.width
        self._compiled: Any = statement.compile(dialect=dialect)
        self._forms: dict[tuple[tuple[str, int | None], ...], _Form] = {}

    def put(self, database: Connection, params: Mapping[str, Any], rows: Rows) -> list[list[Any]]:
        """Ask the database; whole rows of tables come from ``rows``."""
        shape = tuple(
            (name, len(one) if isinstance(one, list) else None) for name, one in params.items()
        )
        form = self._forms.get(shape)
        if form is None:
            form = self._forms[shape] = _Form(self._compiled, params)
        found = database.execute(form.text, [place(params) for place in form.places]).fetchall()
        return [[part(raw, rows) for part in self._parts] for raw in found]


class _Form:
    """The text of a statement for lists of certain lengths, and what belongs at its places."""

    def __init__(self, compiled: SQLCompiler, params: Mapping[str, Any]) -> None:
        state = compiled.construct_expanded_state(params)
        self.text = state.statement
        expanded = {
            place: (name, number)
            for name, places in state.parameter_expansion.items()
            for number, place in enumerate(places)
        }
        self.places: list[Callable[[Mapping[str, Any]], Any]] = []
        for place in state.positiontup or ():
            name, number = expanded.get(place, (place, None))
            telling = told(compiled.binds[name].type, compiled.dialect)
            if name not in params:
                self.places.append(_constant(telling(state.parameters[place])))
            else:
                self.places.append(_given(name, number, telling))


def _is_row(wanted: Any) -> bool:
    """Whether a statement asks for whole rows of a table, and not for a value."""
    return wanted["expr"] is wanted.get("entity")


def _value(at: int, of: Making | None) -> Callable[[Raw, Rows], Any]:
    return (lambda raw, _: raw[at]) if of is None else lambda raw, _: of(raw[at])


def _whole(shape: Shape, at: int) -> Callable[[Raw, Rows], Any]:
    return lambda raw, rows: rows(shape, raw, at)


def _constant(value: Any) -> Callable[[Mapping[str, Any]], Any]:
    return lambda _: value


def _given(name: str, number: int | None, telling: Making) -> Callable[[Mapping[str, Any]], Any]:
    if number is None:
        return lambda params: telling(params[name])
    return lambda params: telling(params[name][number])
