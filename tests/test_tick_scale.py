"""A tick reads what changed and what is due, however much there is beside it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel import Session, col, select

from fleet.control import scheduler
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Placement, Rule, Shard, Transfer, Version
from tests.databases import Databases
from tests.filled_store import fill, lose

BIG = ("shard", "artifact", "replica", "placement", "transfer", "attempt")
FEW, MANY = 600, 30_000
EVERY, LOST = 50, 4  # shards of the small store that lose a copy


def _filled(url: str, replicas: int) -> Store:
    store = Store(url)
    fill(store, url, replicas)
    return store


@contextmanager
def _statements(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """Take down what is asked of the database."""
    seen: list[tuple[str, Any]] = []

    def note(
        _connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool
    ) -> None:
        if not many and statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
            seen.append((statement, values))

    event.listen(store.engine, "before_cursor_execute", note)
    yield seen
    event.remove(store.engine, "before_cursor_execute", note)


def _scans(store: Store, statement: str, values: Any) -> list[str]:
    """Name what a statement reads from end to end."""
    with store.engine.connect() as connection:
        if store.engine.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
            steps = [row[3] for row in plan]
            return [step for step in steps if step.startswith("SCAN") and step.split()[1] in BIG]
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values)
        answer = plan.scalar_one()
        found = json.loads(answer) if isinstance(answer, str) else answer
        return list(_unbounded(found[0]["Plan"]))


def _unbounded(node: dict[str, Any]) -> Iterator[str]:
    reads = node.get("Relation Name") in BIG and "Scan" in node["Node Type"]
    if reads and node["Node Type"] != "Bitmap Heap Scan" and "Index Cond" not in node:
        yield f"{node['Node Type']} of {node['Relation Name']}"
    for child in node.get("Plans", ()):
        yield from _unbounded(child)


def test_a_tick_scans_no_big_table(database_url: str) -> None:
    store = _filled(database_url, MANY)
    scheduler.tick(store, CentreSettings())
    with _statements(store) as idle:
        scheduler.tick(store, CentreSettings())
    lose(store, MANY // 3 // LOST, 1)
    with _statements(store) as busy:
        scheduler.tick(store, CentreSettings())
    scans = {
        statement: found
        for statement, values in [*idle, *busy]
        if (found := _scans(store, statement, values))
    }
    assert len(idle) >= 10
    assert scans == {}
    store.close()


def _steps(store: Store, run: Callable[[], None]) -> int:
    """Count the steps of SQLite's machine, in hundreds, whatever else this machine does."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def watch(connection: Any, *_: Any) -> None:
        connection.set_progress_handler(count, 100)

    event.listen(store.engine, "checkout", watch)
    run()
    event.remove(store.engine, "checkout", watch)
    return steps


@pytest.mark.parametrize("lost", [0, LOST])
def test_a_tick_takes_no_more_steps_among_fifty_times_as_many_replicas(
    sqlite_databases: Databases, lost: int
) -> None:
    steps = []
    for replicas in (FEW, MANY):
        store = _filled(sqlite_databases.make(), replicas)
        scheduler.tick(store, CentreSettings())
        if lost:
            lose(store, replicas // 3 // lost, 1)
        steps.append(_steps(store, lambda store=store: scheduler.tick(store, CentreSettings())))
        store.close()
    assert steps[1] <= 1.2 * steps[0] + 2


def test_every_lost_copy_is_copied_anew_with_its_reason(database_url: str) -> None:
    store = _filled(database_url, 3000)
    lose(store, 2, 0)
    scheduler.tick(store, CentreSettings())
    with store.read() as session:
        copies = session.exec(select(Transfer).where(Transfer.state != "done")).all()
        placements = session.exec(select(Placement)).all()
        assert _dirty(session) == []
    assert len({copy.shard_id for copy in copies}) == len(copies) == 500
    assert all(copy.reason for copy in copies)
    assert len(placements) == 3000
    scheduler.tick(store, CentreSettings())
    with store.read() as session:
        assert len(session.exec(select(Transfer)).all()) == 3000 + 500
        assert session.exec(select(Placement)).all() == placements
    store.close()


def _dirty(session: Session) -> list[str]:
    return list(session.exec(select(Shard.id).where(col(Shard.dirty).is_(True))).all())


def test_a_shard_that_cannot_be_written_bears_the_reason_and_the_others_go_on(
    database_url: str,
) -> None:
    store = _filled(database_url, 300)
    _refuse(store, "sh-00000014")
    lose(store, 2, 0)
    scheduler.tick(store, CentreSettings())
    with store.read() as session:
        copied = session.exec(select(Transfer.shard_id).where(Transfer.state != "done")).all()
        short = session.exec(select(Placement).where(col(Placement.site_id).is_(None))).all()
        assert _dirty(session) == []
    assert len(copied) == 49
    assert [one.shard_id for one in short] == ["sh-00000014"]
    assert "this shard is refused" in short[0].reason
    store.close()


def _refuse(store: Store, shard: str) -> None:
    """Let the database refuse whatever transfer is made for a shard."""
    when = f"BEFORE INSERT ON transfer FOR EACH ROW WHEN (NEW.shard_id = '{shard}')"
    fault = "this shard is refused"
    with store.write() as session:
        if store.engine.dialect.name == "sqlite":
            raised = f"BEGIN SELECT RAISE(ABORT, '{fault}'); END"
            session.execute(text(f"CREATE TRIGGER refusing {when} {raised}"))
            return
        body = f"$$ BEGIN RAISE EXCEPTION '{fault}'; END $$"
        session.execute(
            text(f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS {body}")
        )
        session.execute(text(f"CREATE TRIGGER refusing {when} EXECUTE FUNCTION refuse()"))


def test_a_rule_that_cannot_be_read_holds_back_its_own_shards_alone(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    fill(store, url.replace("+psycopg", ""), 300)
    lose(store, 2, 0)
    with store.write() as session:
        session.execute(
            text("INSERT INTO dataset (id, title, created_at) VALUES ('x', '', :now)"),
            {"now": "2026-03-01"},
        )
        version = session.get_one(Version, "ve-1")
        session.add(
            Version(
                id="ve-2",
                dataset_id="x",
                label="1",
                state="published",
                created_at=version.created_at,
            )
        )
        session.add(Rule(dataset_id="x", selector="kind=("))
        session.flush()
        session.get_one(Shard, "sh-00000014").version_id = "ve-2"
    scheduler.tick(store, CentreSettings())
    with store.read() as session:
        copied = session.exec(select(Transfer.shard_id).where(Transfer.state != "done")).all()
        [short] = session.exec(select(Placement).where(col(Placement.site_id).is_(None))).all()
    assert len(copied) == 49
    assert short.shard_id == "sh-00000014"
    assert "could not be decided" in short.reason
