"""The copies of shards, and when they are read again.

Only the ledger writes ``Replica.state``.
"""

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.planning.states import ReplicaState
from fleet.store.columns import count, empty, identity, moment
from fleet.store.tables.table import Table


class Replica(Table, table=True):
    """A shard at a site, and what is believed of it.

    ``proved_at`` is when another site, ``proved_by``, last read a whole piece of it by a range;
    none since it became available: it is no web seed.  ``arrived_at`` is when its bytes came,
    ``troubled_at`` when they were last found wrong or put in doubt.  ``risk`` is 0 in doubt,
    else how many independent good copies the shard had when that last changed, up to a few.
    """

    __table_args__ = (
        UniqueConstraint("shard_id", "site_id"),
        Index("ix_replica_due", "site_id", "risk", "look_at"),
        Index("ix_replica_read", "site_id", "state", "verified_at"),
        Index("ix_replica_trouble", "site_id", "troubled_at"),
    )
    id: str = identity("re")
    shard_id: str = Field(foreign_key="shard.id")
    site_id: str = Field(foreign_key="site.id")
    state: str = Field(default=ReplicaState.PENDING)
    faulty: list[str] = Field(default_factory=empty, sa_type=JSON)
    reason: str = ""
    arrived_at: datetime | None = moment()
    troubled_at: datetime | None = moment()
    risk: int = 0
    verified_at: datetime | None = moment()
    proved_at: datetime | None = moment()
    proved_by: str | None = None
    look_at: datetime | None = moment(index=True)


class Fixity(Table, table=True):
    """How much a site was told to read again on one day, and how much it held when that began."""

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    day: str
    held: int = count(default=0)
    read: int = count(default=0)
