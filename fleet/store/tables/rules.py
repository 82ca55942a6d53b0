"""What must hold of a dataset, and what was decided for it."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.store.columns import empty, identity, moment
from fleet.store.tables.table import Table


class Rule(Table, table=True):
    """What must hold for every version of a dataset; ``copies`` None: every site that matches."""

    id: str = identity("ru")
    dataset_id: str = Field(foreign_key="dataset.id", index=True)
    copies: int | None = None
    min_copies: int = 1
    selector: str = ""
    spread_by: list[str] = Field(default_factory=empty, sa_type=JSON)
    priority: int = 0
    deadline: datetime | None = moment()
    expires: datetime | None = moment()
    look_at: datetime | None = moment(index=True)


class Placement(Table, table=True):
    """A decision that serves a rule; without a site it says what the rule is short of."""

    __table_args__ = (UniqueConstraint("rule_id", "shard_id", "site_id"),)
    id: str = identity("pl")
    rule_id: str = Field(foreign_key="rule.id")
    shard_id: str = Field(foreign_key="shard.id", index=True)
    site_id: str | None = None
    reason: str
    decided_at: datetime = moment(default=...)
    look_at: datetime | None = moment(index=True)


class Tombstone(Table, table=True):
    """A replica that serves no rule any more and is to be dropped, ``reason`` says why.

    Nothing happens before ``drop_after``; ``waits`` is what it waits for until ``look_at``, and
    ``transfer_id`` the drop once that was decided.
    """

    shard_id: str = Field(foreign_key="shard.id", primary_key=True)
    site_id: str = Field(foreign_key="site.id", primary_key=True)
    reason: str
    waits: str = ""
    made_at: datetime = moment(default=...)
    drop_after: datetime = moment(default=...)
    look_at: datetime | None = moment(index=True)
    transfer_id: str | None = None
