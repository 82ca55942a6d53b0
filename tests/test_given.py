"""Rows given to a statement in one parameter arrive as they are, on each database."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from fleet.store import given
from fleet.store.database import Store

_WAKEUP = SQLModel.metadata.tables["wakeup"]
_ODD = [
    '"; DROP TABLE shard; --',
    "it's",
    "é\u2028\U0001f409",
    "",
    "a\\b\n\tc",
    "{curly}, [square]",
    "%s",
]
_MOMENT = datetime(2026, 3, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_texts_and_moments_and_nothing_arrive_as_they_are(store: Store) -> None:
    rows = [
        {"site_id": text, "task": "pull", "created_at": _MOMENT, "sent_at": sent}
        for text, sent in zip(_ODD, [None, _MOMENT] * 4, strict=False)
    ]
    with store.write() as session:
        kind = given.dialect(session)
        statement = given.inserting(kind, _WAKEUP, "site_id", "task", "created_at", "sent_at")
        session.connection().execute(statement, given.told(kind, rows))
    columns = _WAKEUP.c.site_id, _WAKEUP.c.task, _WAKEUP.c.created_at, _WAKEUP.c.sent_at
    with store.read() as session:
        found = session.execute(select(*columns).order_by(_WAKEUP.c.id)).mappings()
        assert [dict(row) for row in found] == rows


def test_a_moment_of_another_zone_is_kept_in_utc(store: Store) -> None:
    there = datetime(2026, 2, 28, 22, 3, 4, tzinfo=timezone(timedelta(hours=-4)))
    row = {"site_id": "a", "task": "pull", "created_at": there}
    with store.write() as session:
        kind = given.dialect(session)
        statement = given.inserting(kind, _WAKEUP, *row)
        session.connection().execute(statement, given.told(kind, [row]))
        assert session.execute(select(_WAKEUP.c.created_at)).scalar_one() == there


def test_who_is_among_many_ids_is_found(store: Store) -> None:
    many = [*_ODD, *(f"site-{number}" for number in range(5000))]
    with store.write() as session:
        kind = given.dialect(session)
        rows = [{"site_id": one, "task": "pull", "created_at": _MOMENT} for one in [*_ODD, "no"]]
        statement = given.inserting(kind, _WAKEUP, "site_id", "task", "created_at")
        session.connection().execute(statement, given.told(kind, rows))
        asked = select(_WAKEUP.c.site_id).where(given.among(kind, _WAKEUP.c.site_id))
        assert set(session.execute(asked, given.ids(kind, many)).scalars()) == set(_ODD)
        assert session.execute(asked, given.ids(kind, [])).all() == []


def test_what_no_database_keeps_is_refused(store: Store) -> None:
    with store.read() as session, pytest.raises(TypeError, match="nothing that a statement"):
        given.told(given.dialect(session), [{"site_id": b"bytes"}])
    with store.read() as session, pytest.raises(ValueError, match="has no time zone"):
        given.told(given.dialect(session), [{"created_at": _MOMENT.replace(tzinfo=None)}])
