"""Shards to be placed, read and written by the batch.

Rules this module keeps:

- A batch takes the same few statements however many shards it has, and none reads more rows than
  belong to these shards.
- Rows are plain values, not objects of the session: it would compare thousands of them at each
  flush.
- What changes a replica names the states it starts from.  Shards are locked, in the order of
  their ids, before anything about them is read.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import (
    Delete,
    Executable,
    Row,
    Select,
    String,
    Update,
    bindparam,
    delete,
    or_,
    select,
    true,
    update,
)
from sqlmodel import Session, SQLModel, col

from fleet.planning.states import ReplicaState, TransferKind, VersionState
from fleet.store import given
from fleet.store.tables import Rule, Version
from fleet.store.transfers import ENDED

ABSENT = (ReplicaState.PENDING, ReplicaState.BAD, ReplicaState.MISSING)
_PLACED = (VersionState.PUBLISHED, VersionState.SUPERSEDED)
_Values = dict[str, Any]


_SHARD, _REPLICA, _PLACEMENT, _TRANSFER, _TOMBSTONE = (
    SQLModel.metadata.tables[name]
    for name in ("shard", "replica", "placement", "transfer", "tombstone")
)


@dataclass(slots=True)
class Standing:
    """What the store knows of one shard: its rule, and what serves it; ``unneeded`` as a version.

    ``replicas``, by site, have ``id, site_id, state, verified_at``, ``placements`` have ``id,
    rule_id, site_id, reason``; ``under_way`` names the sites that a copy goes to, or one that was
    suspended, ``marked`` those whose copy has a tombstone.
    """

    id: str
    version: str
    size: int
    unneeded: bool
    rule: Rule | None = None
    replicas: dict[str, Row[Any]] = field(default_factory=dict)
    placements: list[Row[Any]] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Changes:
    """What was decided of a batch, as rows to write."""

    dropped: list[str] = field(default_factory=list)  # placements, by id
    reworded: list[_Values] = field(default_factory=list)  # placements: one, why, again
    placements: list[_Values] = field(default_factory=list)
    expected: list[_Values] = field(default_factory=list)  # replicas: one, why
    revived: list[_Values] = field(default_factory=list)  # replicas: one, why
    replicas: list[_Values] = field(default_factory=list)
    transfers: list[_Values] = field(default_factory=list)


_DIRTY = (
    select(_SHARD.c.id, _SHARD.c.version_id, _SHARD.c.size, col(Version.unneeded))
    .join(Version, col(Version.id) == _SHARD.c.version_id)
    .where(
        _SHARD.c.dirty == true(),
        or_(col(Version.state).in_(_PLACED), col(Version.unneeded) == true()),
    )
    .order_by(_SHARD.c.id)
    .limit(bindparam("most"))
)
_LOCKED = _DIRTY.with_for_update(of=_SHARD)


def any_dirty(session: Session) -> bool:
    """Whether something changed about a shard of a finished version, or of an unneeded one."""
    return session.execute(_DIRTY, {"most": 1}).first() is not None


def take(session: Session, limit: int) -> list[Standing]:
    """Lock a batch of shards of finished or unneeded versions about which something changed.

    They count as unchanged from then on.
    """
    rows = session.execute(_LOCKED, {"most": limit}).all()
    if rows:
        kind = given.dialect(session)
        session.connection().execute(_clean(kind), given.ids(kind, [row.id for row in rows]))
    return [Standing(*row) for row in rows]


@cache
def _clean(kind: str) -> Update:
    return update(_SHARD).where(given.among(kind, _SHARD.c.id)).values(dirty=False)


def read(session: Session, shards: Sequence[Standing]) -> None:
    """Read what the store knows of shards that were taken."""
    rules = _rules(session, {shard.version for shard in shards})
    kind = given.dialect(session)
    ids = given.ids(kind, [shard.id for shard in shards])
    replicas, placements, under_way, marked = (
        _by_shard(session, statement, ids) for statement in _of_shards(kind)
    )
    for shard in shards:
        shard.rule = rules.get(shard.version)
        shard.replicas = {row.site_id: row for row in replicas[shard.id]}
        shard.placements = placements[shard.id]
        shard.under_way = {row.target_id for row in under_way[shard.id]}
        shard.marked = {row.site_id for row in marked[shard.id]}


@cache
def _of_shards(kind: str) -> tuple[Select[Any], ...]:
    """Make what asks for the replicas, placements, copies under way and tombstones of shards."""
    replica, placement, transfer, mark = _REPLICA.c, _PLACEMENT.c, _TRANSFER.c, _TOMBSTONE.c
    asked = (
        select(replica.shard_id, replica.id, replica.site_id, replica.state, replica.verified_at),
        select(
            *(placement.shard_id, placement.id, placement.rule_id),
            *(placement.site_id, placement.reason),
        ),
        # what has not ended is not listed: PostgreSQL would look up each shard with each state
        select(transfer.shard_id, transfer.target_id).where(
            transfer.kind == TransferKind.COPY, transfer.state.not_in(ENDED)
        ),
        select(mark.shard_id, mark.site_id),
    )
    return tuple(one.where(given.among(kind, one.selected_columns.shard_id)) for one in asked)


_RULES = (
    select(col(Version.id), Rule)
    .join(Rule, col(Rule.dataset_id) == col(Version.dataset_id))
    .where(col(Version.id).in_(bindparam("versions", expanding=True)))
    .order_by(col(Rule.id))
)


def _rules(session: Session, versions: set[str]) -> dict[str, Rule]:
    """Map versions to the rule of their dataset that was given last."""
    rows = session.execute(_RULES, {"versions": list(versions)})
    return {row[0]: row[1] for row in rows.all()}


def _by_shard(
    session: Session, statement: Select[Any], ids: Mapping[str, Any]
) -> defaultdict[str, list[Row[Any]]]:
    """Read rows of shards."""
    found = defaultdict[str, list[Row[Any]]](list)
    for row in session.connection().execute(statement, ids).all():
        found[row[0]].append(row)  # each begins with its shard
    return found


def write(session: Session, changes: Changes) -> None:
    """Write what was decided; what was there goes before what comes in its place."""
    kind, connection = given.dialect(session), session.connection()
    if changes.dropped:
        connection.execute(_drop(kind), given.ids(kind, changes.dropped))
    for name, statement in _changing(kind).items():
        if rows := getattr(changes, name):
            connection.execute(statement, given.told(kind, rows))


@cache
def _drop(kind: str) -> Delete:
    return delete(_PLACEMENT).where(given.among(kind, _PLACEMENT.c.id))


@cache
def _changing(kind: str) -> dict[str, Executable]:
    """Make the statements that write the other kinds of ``Changes``, in their order."""
    text, moment = String(), _PLACEMENT.c.look_at.type
    worded = given.given(kind, {"one": text, "why": text})
    dated = given.given(kind, {"one": text, "why": text, "again": moment})
    placement, replica = _PLACEMENT.c, _REPLICA.c
    absent, retired = replica.state.in_(ABSENT), replica.state == ReplicaState.RETIRED
    expected = update(_REPLICA).where(replica.id == worded.c.one)
    return {
        "reworded": update(_PLACEMENT)
        .where(placement.id == dated.c.one)
        .values(reason=dated.c.why, look_at=dated.c.again),
        "placements": given.inserting(
            *(kind, _PLACEMENT, "id", "rule_id", "shard_id", "site_id", "reason"),
            *("decided_at", "look_at"),
        ),
        "expected": expected.where(absent).values(reason=worded.c.why),
        "revived": expected.where(retired).values(state=ReplicaState.PENDING, reason=worded.c.why),
        "replicas": given.inserting(kind, _REPLICA, "id", "shard_id", "site_id", "reason"),
        "transfers": given.inserting(
            *(kind, _TRANSFER, "id", "kind", "version_id", "shard_id", "target_id", "executor_id"),
            *("size", "priority", "deadline", "reason", "created_at"),
        ),
    }
