"""Rows that a statement is given in one parameter, as a table that it may read from.

A driver that is handed many rows sends one after the other, and the layers above it prepare each by
itself.  As JSON they are one value, which the database takes apart: a batch costs one statement.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Insert,
    String,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.types import TypeEngine
from sqlmodel import Session

_NAME = "given"


def dialect(session: Session) -> str:
    """Name the kind of database that a session speaks to."""
    return session.get_bind().dialect.name


def given(kind: str, types: Mapping[str, TypeEngine[Any]]) -> FromClause:
    """Make the table of the rows that a statement is given, for a ``kind`` of database."""
    names = [column(name, of) for name, of in types.items()]
    told = bindparam(_NAME, type_=Text())
    if kind == "postgresql":
        rows = func.json_to_recordset(cast(told, JSON)).table_valued(*names, name=_NAME)
        return rows.render_derived(with_types=True)
    row = func.json_each(told).table_valued("value").c.value
    return select(
        *(func.json_extract(row, f"$.{one.name}", type_=one.type).label(one.name) for one in names)
    ).subquery(_NAME)


def told(kind: str, rows: Collection[Mapping[str, Any]]) -> dict[str, str]:
    """Make the parameter of a statement; moments are written as the database keeps them."""
    zone = "+00" if kind == "postgresql" else ""

    def plain(value: object) -> str:
        if not isinstance(value, datetime):
            raise TypeError(f"{value!r} is nothing that a statement is given")
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}{zone}"

    return {_NAME: json.dumps(rows, default=plain)}


@cache
def inserting(kind: str, table: Table, *names: str) -> Insert:
    """Make the statement that inserts rows of these columns; the others have their defaults."""
    rows = given(kind, {name: table.c[name].type for name in names})
    return insert(table).from_select(names, select(*(rows.c[name] for name in names)))


def among(kind: str, what: ColumnElement[Any]) -> ColumnElement[bool]:
    """Say that ``what`` is one of the ids that are given."""
    if kind == "postgresql":  # which plans for as many as there are
        return what == any_(bindparam(_NAME, type_=ARRAY(String())))
    each = func.json_each(bindparam(_NAME, type_=Text())).table_valued("value")
    return what.in_(select(each.c.value))


def ids(kind: str, names: Sequence[str]) -> dict[str, Any]:
    """Make the parameter of a statement that is given ids."""
    return {_NAME: names if kind == "postgresql" else json.dumps(names)}
