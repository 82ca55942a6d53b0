from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, MetaData, create_engine, event, make_url, text
from sqlmodel import SQLModel, select

from fleet.store import tables  # noqa: F401
from fleet.store.columns import new_id
from fleet.store.database import Store
from fleet.store.migrate import is_current, upgrade
from fleet.store.tables import Blob, Dataset, Press, Site, Usual


def test_migrations_make_exactly_the_tables_that_the_code_declares(live_store: Store) -> None:
    with live_store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, SQLModel.metadata) == []
    assert is_current(live_store)


def test_what_changed_is_written_in_the_order_of_the_tables_names(store: Store) -> None:
    written = []
    with store.write() as session:
        event.listen(
            session.connection(),
            "before_cursor_execute",
            lambda *told: written.append(told[2].split()[2]),
        )
        session.add(Site(id="toronto", kind="node", driver="posix"))
        session.add(Usual(subject="toronto"))
        session.add(Dataset(id="data", created_at=store.now(session)))
        session.add(Blob(sha256="00", data=b"", created_at=store.now(session)))
        session.add(Press(id="press"))
        written.clear()
        session.flush()
    assert written == ["blob", "dataset", "press", "site", "usual"]


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    upgrade(database_url)
    upgrade(database_url)


def test_a_store_that_is_in_use_is_brought_forward_with_all_that_it_holds(
    database_url: str, tmp_path: Path
) -> None:
    if database_url.startswith("sqlite"):
        database_url = f"sqlite:///{tmp_path / 'old.db'}"
    else:
        url = make_url(database_url).set(drivername="postgresql+psycopg")
        with create_engine(url).begin() as db:
            db.execute(text("DROP SCHEMA public CASCADE"))
            db.execute(text("CREATE SCHEMA public"))
    upgrade(database_url, "0001")
    store = Store(database_url)
    before = dict.fromkeys(_a_row_of_each(store), 1)
    upgrade(database_url)
    with store.engine.connect() as connection:
        counted = {
            table: connection.execute(text(f'SELECT count(*) FROM "{table}"')).scalar()
            for table in before
        }
    with store.read() as session:
        assert session.exec(select(Site.upload)).all() == [{}]
    store.close()
    assert counted == before


def _a_row_of_each(store: Store) -> list[str]:
    """Put a row into every table, each of which refers to those it can refer to."""
    known = MetaData()
    known.reflect(store.engine)
    made = [table for table in known.sorted_tables if table.name != "alembic_version"]
    with store.engine.begin() as connection:
        for table in made:
            row = {column.name: _something(column) for column in table.columns}
            connection.execute(table.insert(), row)
    return [table.name for table in made]


def _something(column: Column[Any]) -> object:
    kind = str(column.type).upper()
    if "DATE" in kind or "TIME" in kind:
        return datetime(2026, 1, 1, tzinfo=UTC)
    if "JSON" in kind:
        return []
    if "BOOL" in kind:
        return False
    if any(number in kind for number in ("INT", "FLOAT", "DOUBLE", "NUMERIC")):
        return 1
    return b"x" if "BLOB" in kind or "BYTEA" in kind else "x"


def test_a_unit_of_work_that_fails_leaves_nothing_behind(store: Store) -> None:
    def fail() -> None:
        with store.write() as session:
            session.add(Dataset(id="half", created_at=store.now(session)))
            session.flush()
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fail()
    with store.read() as session:
        assert session.get(Dataset, "half") is None


def test_moments_come_back_in_utc_whatever_zone_they_were_given_in(store: Store) -> None:
    toronto = timezone(timedelta(hours=-5))
    moment = datetime(2026, 3, 1, 7, 30, 0, 123000, tzinfo=toronto)
    with store.write() as session:
        session.add(Dataset(id="when", created_at=moment))
    with store.read() as session:
        kept = session.get_one(Dataset, "when").created_at
    assert kept == moment
    assert kept.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(Exception, match="no time zone"), store.write() as session:
        session.add(Dataset(id="naive", created_at=datetime(2026, 3, 1)))  # noqa: DTZ001


def test_the_databases_clock_is_utc_and_moves(live_store: Store) -> None:
    with live_store.read() as session:
        first, second = live_store.now(session), live_store.now(session)
    assert abs(first - datetime.now(UTC)) < timedelta(seconds=30)
    assert timedelta(0) <= second - first < timedelta(seconds=5)


def test_dataset_ids_are_case_sensitive(store: Store) -> None:
    with store.write() as session:
        for name in ("ca_Red-Deer", "ca_red-deer"):
            session.add(Dataset(id=name, created_at=store.now(session)))


def test_ids_made_later_sort_later() -> None:
    ids = [new_id("tr") for _ in range(500)]
    assert len(set(ids)) == len(ids)
    stamps = [one[:13] for one in ids]
    assert stamps == sorted(stamps)


def test_a_view_shows_one_moment_however_many_queries_it_makes(store: Store) -> None:
    with store.read() as session:
        assert session.get(Dataset, "late") is None
        with store.write() as other:
            other.add(Dataset(id="late", created_at=store.now(other)))
        assert session.exec(select(Dataset)).all() == []
