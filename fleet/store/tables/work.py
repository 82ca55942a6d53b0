"""What sites are told to do, and each try at it."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.planning.states import AttemptState, TransferState
from fleet.store.columns import count, empty, identity, moment
from fleet.store.tables.table import Table

_RANK = (text("priority DESC"), text("(deadline IS NULL)"), "deadline", "id")


class Transfer(Table, table=True):
    """The wish to have something done at a target site, carried out by an executor site.

    ``fence`` rises with each claim; ``attempt_id`` is the attempt that was announced last.
    """

    __table_args__ = (
        Index("ix_transfer_queue", "state", "executor_id", "kind", "not_before", *_RANK),
        # PostgreSQL takes "not_before IS NULL" for no equality, and would sort all that waits
        Index(
            "ix_transfer_ready",
            *("executor_id", "kind", *_RANK),
            postgresql_where=text("state = 'waiting' AND not_before IS NULL"),
        ).ddl_if(dialect="postgresql"),
        Index(
            "ix_transfer_wake",
            *("state", "not_before"),
            postgresql_where=text("state = 'waiting' AND not_before IS NOT NULL"),
        ),
        Index("ix_transfer_shard", "shard_id", "target_id", "kind", "state"),
    )
    id: str = identity("tr")
    kind: str
    version_id: str | None = Field(default=None, foreign_key="version.id", index=True)
    shard_id: str | None = Field(default=None, foreign_key="shard.id")
    target_id: str = Field(foreign_key="site.id")
    executor_id: str = Field(foreign_key="site.id")
    state: str = Field(default=TransferState.WAITING)
    size: int = count(default=0)
    priority: int = 0
    deadline: datetime | None = moment()
    not_before: datetime | None = moment()
    reason: str = ""
    fence: int = 0
    attempts: int = 0
    attempt_id: str | None = None
    created_at: datetime = moment(default=...)
    ended_at: datetime | None = moment()


class Attempt(Table, table=True):
    """One execution of a transfer, leased and fenced."""

    __table_args__ = (Index("ix_attempt_lease", "state", "lease_until"),)
    id: str = identity("at")
    transfer_id: str = Field(foreign_key="transfer.id", index=True)
    site_id: str = Field(foreign_key="site.id", index=True)
    state: str = Field(default=AttemptState.ANNOUNCED)
    fence: int | None = None
    announced_at: datetime = moment(default=...)
    announcements: int = 1
    claimed_at: datetime | None = moment()
    lease_until: datetime | None = moment()
    ended_at: datetime | None = moment()
    bytes_done: int = count(default=0)
    bytes_fetched: int = count(default=0)
    sources: list[dict[str, str]] = Field(default_factory=empty, sa_type=JSON)
    reason: str = ""
