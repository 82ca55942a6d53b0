"""A store with ever so many replicas, filled by a few statements: for the tick at scale."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
from sqlalchemy import text

from fleet.control import sites
from fleet.control.sites import SiteSpec
from fleet.store import loads
from fleet.store.database import Store

COPIES = 3
SITES = 12
LATER = "2126-03-01 00:00:00.000000"
_FILL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").split(";\n")
# one copy of every so many shards, of others each time
_LOSE = (
    """UPDATE replica SET state = 'missing', reason = 'its files are gone', look_at = NULL
    WHERE id IN (SELECT 're' || id || cast(position / :every % 3 AS text) FROM shard
    WHERE position % :every = :turn)""",
    "UPDATE shard SET dirty = true WHERE position % :every = :turn",
)


def fill(store: Store, url: str, replicas: int) -> None:
    """Fill empty tables: shards of three copies on twelve sites, and what made these copies."""
    sites.apply(
        store,
        tuple(
            SiteSpec(
                id=f"site-{number:02}",
                kind="node",
                driver="posix",
                country=f"country-{number % 6}",
                capacity=10**16,
            )
            for number in range(SITES)
        ),
    )
    postgres = store.engine.dialect.name == "postgresql"
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"  # read just now: no fixity is due
    values = {"shards": replicas // COPIES, "now": now, "later": LATER}
    with store.write() as session:
        if postgres:  # no triggers: the sums are made at the end
            session.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in _FILL:
            named = {name: one for name, one in values.items() if f":{name}" in statement}
            session.execute(text(statement), named)
    if postgres:  # as its own service would, in time
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


def lose(store: Store, every: int, turn: int) -> None:
    """Let one copy of every so many shards be missing, as a verify would report it."""
    with store.write() as session:
        for statement in _LOSE:
            session.execute(text(statement), {"every": every, "turn": turn})
    with store.write() as session:
        loads.fold(session)
