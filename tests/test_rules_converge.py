"""From any state, ticks reach a point at which they do nothing any more."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel, select

from fleet.control import blobs
from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts
from fleet.store.clock import VirtualClock
from fleet.store.tables import (
    Artifact,
    Attempt,
    Dataset,
    Placement,
    Replica,
    Rule,
    Shard,
    Site,
    Tombstone,
    Transfer,
    Version,
)
from tests.centre_support import Centre, content
from tests.databases import Databases
from tests.planning_support import replicas, rules, sites

_NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_LIVES = timedelta(days=90)
_WATCHED: tuple[type[SQLModel], ...] = (Transfer, Attempt, Placement, Replica, Tombstone)
_PATH = "a.csv"
_PIECES = hashlib.sha1(content(_PATH), usedforsecurity=False).digest()


def _begin(
    databases: Databases,
    folder: Path,
    known: list[SiteFacts],
    rule: RuleFacts,
    copies: list[ReplicaFacts],
    *,
    expired: bool,
) -> Centre:
    """Make a centre with one published shard, in whatever state."""
    centre = Centre(databases.emptied(VirtualClock(_NOON)), folder)
    centre.open_doors()
    blobs.keep(centre.store, hashlib.sha256(_PIECES).hexdigest(), _PIECES)
    with centre.store.write() as session:
        session.add(Dataset(id="data", created_at=_NOON))
        for one in known:
            session.add(_site(one))
        session.flush()
        session.add(
            Version(id="v", dataset_id="data", label="1", state="published", created_at=_NOON)
        )
        session.add(
            Rule(
                dataset_id="data",
                copies=rule.copies,
                min_copies=rule.min_copies,
                selector=rule.selector,
                spread_by=list(rule.spread_by),
                look_at=_NOON if expired else None,
                expires=_NOON if expired else None,
            )
        )
        session.flush()
        session.add(
            Shard(
                id="s",
                version_id="v",
                position=0,
                size=len(content(_PATH)),
                files=1,
                piece_length=16384,
                infohash="0" * 40,
                pieces=hashlib.sha256(_PIECES).hexdigest(),
                name=_PATH,
                folder="data/1",
            )
        )
        session.flush()
        session.add(_artifact())
        names = {one.id for one in known if not one.retired}
        for copy in copies:
            if copy.site in names:
                session.add(_replica(copy))
    return centre


def _site(one: SiteFacts) -> Site:
    told = ("id", "kind", "driver", "region", "country", "jurisdiction", "operator", "provider")
    return Site(
        **{name: getattr(one, name) for name in told},
        trusted=one.trusted,
        retired=one.retired,
        silent=one.silent,
        fronts=list(one.fronts),
        capacity=None if one.free is None else one.free * 10,
    )


def _artifact() -> Artifact:
    data = content(_PATH)
    return Artifact(
        version_id="v",
        path=_PATH,
        state="known",
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        shard_id="s",
        offset=0,
        origins=["https://origin.example/a.csv"],
    )


def _replica(copy: ReplicaFacts) -> Replica:
    state = "retired" if copy.state == "leaving" else copy.state
    verified = _NOON if state == "available" else None
    look_at = _NOON + _LIVES if state == "available" else None
    return Replica(
        shard_id="s", site_id=copy.site, state=state, verified_at=verified, look_at=look_at
    )


def _rows(centre: Centre) -> list[dict[str, Any]]:
    with centre.store.read() as session:
        return [row.model_dump() for table in _WATCHED for row in session.exec(select(table)).all()]


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sites(), rules, replicas, st.booleans())
def test_ticks_and_work_come_to_an_end_and_then_do_nothing(
    sqlite_databases: Databases,
    tmp_path: Path,
    known: list[SiteFacts],
    rule: RuleFacts,
    copies: list[ReplicaFacts],
    expired: bool,
) -> None:
    centre = _begin(sqlite_databases, tmp_path, known, rule, copies, expired=expired)
    centre.tick()
    decided = _rows(centre)
    centre.tick()
    assert _rows(centre) == decided
    centre.work()
    done = _rows(centre)
    for _ in range(2):
        centre.tick()
    assert _rows(centre) == done
