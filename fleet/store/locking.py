"""Rows taken for a unit of work: shards in one order, so that no two units block each other."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from sqlalchemy import bindparam, update
from sqlmodel import Session, SQLModel, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fleet.planning.states import ReplicaState
from fleet.store.tables import Replica, Shard

Row = TypeVar("Row", bound=SQLModel)


def lock(session: Session, table: type[Row], key: str | None) -> Row:
    """Take a row for this unit of work, and read it anew.

    Whoever sets or clears ``dirty`` does so under this lock: cleared without it, a flag set by
    another unit of work at the same time would be lost.
    """
    return session.get_one(table, key, with_for_update=True, populate_existing=True)


_SHARDS = (
    select(Shard)
    .where(col(Shard.id).in_(bindparam("shards", expanding=True)))
    .order_by(col(Shard.id))
    .with_for_update()
    .execution_options(populate_existing=True)
)


def lock_shards(session: Session, shards: Iterable[str]) -> Sequence[Shard]:
    """Take some shards for this unit of work, the one with the least id first, as all do."""
    return session.exec(_SHARDS, params={"shards": list(shards)}).all()


def lock_shards_at(session: Session, site: str) -> None:
    """Take the shards of all that a site holds or is to hold, in the order that all keep."""
    theirs = select(Replica.shard_id).where(
        Replica.site_id == site, Replica.state != ReplicaState.RETIRED
    )
    session.exec(
        select(Shard.id).where(col(Shard.id).in_(theirs)).order_by(col(Shard.id)).with_for_update()
    ).all()


def dirty_shards(session: Session, versions: SelectOfScalar[str]) -> None:
    """Have all shards of some versions looked at; they are taken in the order that all keep."""
    theirs = col(Shard.version_id).in_(versions)
    session.exec(select(Shard.id).where(theirs).order_by(col(Shard.id)).with_for_update()).all()
    session.exec(update(Shard).where(theirs).values(dirty=True))
