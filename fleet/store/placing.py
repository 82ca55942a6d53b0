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
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Row,
    bindparam,
    delete,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlmodel import Session, SQLModel, col

from fleet.planning.states import ReplicaState, TransferKind, VersionState
from fleet.store.tables import Rule, Version
from fleet.store.transfers import UNENDED

ABSENT = (ReplicaState.PENDING, ReplicaState.BAD, ReplicaState.MISSING)
_PLACED = (VersionState.PUBLISHED, VersionState.SUPERSEDED)
_Values = dict[str, Any]


_SHARD, _REPLICA, _PLACEMENT, _TRANSFER, _TOMBSTONE = (
    SQLModel.metadata.tables[name]
    for name in ("shard", "replica", "placement", "transfer", "tombstone")
)


@dataclass(slots=True)
class Standing:
    """What the store knows of one shard: its rule, and what serves it.

    ``replicas`` have ``id, site_id, state, verified_at``, ``placements`` have ``id, rule_id,
    site_id, reason``; ``under_way`` names the sites that a copy goes to, or one that was suspended,
    ``marked`` those whose copy has a tombstone.
    """

    id: str
    version: str
    size: int
    rule: Rule | None = None
    replicas: list[Row[Any]] = field(default_factory=list)
    placements: list[Row[Any]] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)

    def at(self, site: str) -> Row[Any] | None:
        """Return the replica at a site, if there is one."""
        return next((row for row in self.replicas if row.site_id == site), None)


@dataclass(slots=True)
class Changes:
    """What was decided of a batch, as rows to write."""

    dropped: list[_Values] = field(default_factory=list)  # placements: one
    reworded: list[_Values] = field(default_factory=list)  # placements: one, why, again
    placements: list[_Values] = field(default_factory=list)
    expected: list[_Values] = field(default_factory=list)  # replicas: one, why
    revived: list[_Values] = field(default_factory=list)  # replicas: one, why
    replicas: list[_Values] = field(default_factory=list)
    transfers: list[_Values] = field(default_factory=list)


_DIRTY = (
    select(_SHARD.c.id, _SHARD.c.version_id, _SHARD.c.size)
    .join(Version, col(Version.id) == _SHARD.c.version_id)
    .where(_SHARD.c.dirty == true(), col(Version.state).in_(_PLACED))
    .order_by(_SHARD.c.id)
    .limit(bindparam("most"))
)
_LOCKED = _DIRTY.with_for_update(of=_SHARD)


def any_dirty(session: Session) -> bool:
    """Whether something changed about a shard of a finished version."""
    return session.execute(_DIRTY, {"most": 1}).first() is not None


def take(session: Session, limit: int) -> list[Standing]:
    """Lock a batch of shards of finished versions about which something changed.

    They count as unchanged from then on.
    """
    rows = session.execute(_LOCKED, {"most": limit}).all()
    if rows:
        ids = [row.id for row in rows]
        clean = update(_SHARD).where(_SHARD.c.id.in_(ids)).values(dirty=False)
        session.connection().execute(clean)
    return [Standing(*row) for row in rows]


def read(session: Session, shards: Sequence[Standing]) -> None:
    """Read what the store knows of shards that were taken."""
    rules = _rules(session, {shard.version for shard in shards})
    ids = [shard.id for shard in shards]
    replica, placement, transfer = _REPLICA.c, _PLACEMENT.c, _TRANSFER.c
    replicas = _by_shard(
        session, ids, replica.id, replica.site_id, replica.state, replica.verified_at
    )
    placements = _by_shard(
        session, ids, placement.id, placement.rule_id, placement.site_id, placement.reason
    )
    under_way = _by_shard(
        session,
        ids,
        transfer.target_id,
        where=(transfer.kind == TransferKind.COPY, transfer.state.in_(UNENDED)),
    )
    marked = _by_shard(session, ids, _TOMBSTONE.c.site_id)
    for shard in shards:
        shard.rule = rules.get(shard.version)
        shard.replicas, shard.placements = replicas[shard.id], placements[shard.id]
        shard.under_way = {row.target_id for row in under_way[shard.id]}
        shard.marked = {row.site_id for row in marked[shard.id]}


def _rules(session: Session, versions: set[str]) -> dict[str, Rule]:
    """Map versions to the rule of their dataset that was given last."""
    rows = session.execute(
        select(col(Version.id), Rule)
        .join(Rule, col(Rule.dataset_id) == col(Version.dataset_id))
        .where(col(Version.id).in_(versions))
        .order_by(col(Rule.id))
    )
    return {row[0]: row[1] for row in rows.all()}


def _by_shard(
    session: Session,
    ids: Sequence[str],
    *columns: Column[Any],
    where: Sequence[ColumnElement[bool]] = (),
) -> defaultdict[str, list[Row[Any]]]:
    """Read columns of one table's rows of shards."""
    shard_id = columns[0].table.c.shard_id
    found = defaultdict[str, list[Row[Any]]](list)
    asked = select(shard_id, *columns).where(shard_id.in_(ids), *where)
    for row in session.connection().execute(asked):
        found[row.shard_id].append(row)
    return found


def write(session: Session, changes: Changes) -> None:
    """Write what was decided; what was there goes before what comes in its place."""
    one: BindParameter[str] = bindparam("one")
    why: BindParameter[str] = bindparam("why")
    again: BindParameter[datetime | None] = bindparam("again")
    placement, replica = _PLACEMENT.c.id == one, _REPLICA.c.id == one
    absent = or_(*(_REPLICA.c.state == state for state in ABSENT))  # no IN for many rows at once
    retired = _REPLICA.c.state == ReplicaState.RETIRED
    pending = {"state": ReplicaState.PENDING, "reason": why}
    statements = (
        (delete(_PLACEMENT).where(placement), changes.dropped),
        (update(_PLACEMENT).where(placement).values(reason=why, look_at=again), changes.reworded),
        (insert(_PLACEMENT), changes.placements),
        (update(_REPLICA).where(replica, absent).values(reason=why), changes.expected),
        (update(_REPLICA).where(replica, retired).values(pending), changes.revived),
        (insert(_REPLICA), changes.replicas),
        (insert(_TRANSFER), changes.transfers),
    )
    connection = session.connection()
    for statement, rows in statements:
        if rows:
            connection.execute(statement, rows)
