"""A tick reads what changed and what is due, however much there is beside it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlmodel import Session, col, select

from fleet.control import scheduler
from fleet.settings import CentreSettings
from fleet.store import offers, placing, transfers
from fleet.store.database import Store
from fleet.store.placing import Changes
from fleet.store.tables import Placement, Rule, Shard, Transfer, Version, VersionChange
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


_QUEUE = """
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 20000)
    INSERT INTO transfer (id, kind, target_id, executor_id, state, size, priority, attempts,
        fence, reason, created_at)
    SELECT 'tr-queued-' || n, 'copy', 'site-03', 'site-03', 'waiting', 1, n % 7, 0, 0, '',
        '2026-01-01' FROM number"""


def _rows(node: dict[str, Any]) -> int:
    """Count what PostgreSQL read, by all the nodes of a plan that was carried out."""
    here = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
    return int(here) + sum(map(_rows, node.get("Plans", ())))


def _effort(store: Store, run: Callable[[], object]) -> int:
    """Tell what a read costs: SQLite's steps in hundreds, or PostgreSQL's rows."""
    if store.engine.dialect.name == "sqlite":
        return _steps(store, lambda: run() and None)
    with _statements(store) as seen:
        run()
    with store.engine.connect() as connection:
        plans = [
            connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {one}", values).scalar_one()
            for one, values in seen
        ]
    return sum(_rows(plan[0]["Plan"]) for plan in plans)


def _long_queue(url: str, *, analysed_before: bool) -> Store:
    """Fill a store with much that waits at one site; statistics tell of it, or are of before."""
    store = _filled(url, FEW)
    if analysed_before:
        _analyse(store)
    with store.engine.begin() as connection:
        connection.execute(text(_QUEUE))
    if not analysed_before:
        _analyse(store)
    return store


def _analyse(store: Store) -> None:
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def test_the_next_of_a_long_queue_is_found_without_reading_the_others(database_url: str) -> None:
    store = _long_queue(database_url, analysed_before=False)

    def ask() -> Sequence[Transfer]:
        with store.read() as session:
            return transfers.due(session, "site-03", transfers.BULK_KINDS, 3)

    assert [one.priority for one in ask()] == [6, 6, 6]
    assert _effort(store, ask) < 200
    store.close()


@pytest.mark.parametrize("analysed_before", [True, False])
def test_who_has_work_is_found_without_reading_it(database_url: str, analysed_before: bool) -> None:
    store = _long_queue(database_url, analysed_before=analysed_before)

    def ask() -> dict[str, set[str]]:
        with store.read() as session:
            return transfers.ready(session)

    assert ask() == {"site-03": {"copy"}}
    assert _effort(store, ask) < 200
    store.close()


_SUMS = """
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 20000)
    INSERT INTO versionchange (version_id, changes, folded)
    SELECT 've-' || n, 1, true FROM number"""
_NOTES = """
    WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 600)
    INSERT INTO versionchange (version_id, changes) SELECT 've-' || (1 + n % 3), 1 FROM number"""


def test_changes_are_added_up_without_reading_what_was_before(database_url: str) -> None:
    store = _filled(database_url, FEW)
    with store.engine.begin() as connection:
        connection.execute(text(_SUMS))
    _analyse(store)

    def ask() -> bool:
        with store.read() as session:
            return offers.worth_folding(session)

    def read_notes() -> list[offers.Note]:
        with store.read() as session:
            return offers.notes(session)

    assert not ask()
    assert _effort(store, ask) < 20
    assert _effort(store, read_notes) < 20
    with store.engine.begin() as connection:
        connection.execute(text(_NOTES))
    assert ask()
    with store.write() as session:
        sums, rows = offers.changes(session), _rows_of_sums(session)
        offers.fold(session)
        assert offers.changes(session) == sums
        after = _rows_of_sums(session)
    changed = {version for version, row in after.items() if rows.get(version) != row}
    assert changed == {"ve-1", "ve-2", "ve-3"}
    assert not ask()
    store.close()


def _rows_of_sums(session: Session) -> dict[str, int | None]:
    rows = select(VersionChange.version_id, VersionChange.id).where(col(VersionChange.folded))
    return dict(session.exec(rows).all())


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


def test_no_index_of_postgresql_hears_of_another_reason(postgres_databases: Databases) -> None:
    store = _filled(postgres_databases.make(), FEW)
    lose(store, 20, 0)
    written = text(
        "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables"
        " WHERE relname IN ('placement', 'replica') ORDER BY relname"
    )
    with store.write() as session:
        before = session.execute(written).all()
        lost = session.execute(text("SELECT id FROM replica WHERE state = 'missing'")).scalars()
        changes = Changes(expected=[{"one": one, "why": "another reason"} for one in lost])
        changes.reworded = [
            {**row, "one": f"pl{row['one']}", "again": None} for row in changes.expected
        ]
        placing.write(session, changes)
        after = session.execute(written).all()
    found = {
        name: (rows - rows_before, hot - hot_before)
        for (name, rows, hot), (_, rows_before, hot_before) in zip(after, before, strict=True)
    }
    assert found == {"placement": (10, 10), "replica": (10, 10)}
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
