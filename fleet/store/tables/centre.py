"""What the centre keeps for its own work."""

from datetime import datetime

from sqlalchemy import LargeBinary
from sqlmodel import Field

from fleet.store.columns import moment
from fleet.store.tables.table import Table


class Wakeup(Table, table=True):
    """An outbox row: one message to send, carrying an id and no authority."""

    id: int | None = Field(default=None, primary_key=True)
    site_id: str
    task: str
    attempt_id: str | None = None
    publication_id: str | None = None
    created_at: datetime = moment(default=...)
    sent_at: datetime | None = moment(index=True)


class Blob(Table, table=True):
    """Bulky bytes (piece hashes), named by their sha256."""

    sha256: str = Field(primary_key=True)
    data: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = moment(default=...)


class Request(Table, table=True):
    """A ``mirror_dataset`` that was asked for, under its idempotency key."""

    key: str = Field(primary_key=True)
    source: str
    version_id: str | None = None
    committed: bool = False
    created_at: datetime = moment(default=...)


class Office(Table, table=True):
    """Who holds a role of the centre (scheduler, server), since when, and until when."""

    role: str = Field(primary_key=True)
    holder: str
    since: datetime = moment(default=...)
    until: datetime = moment(default=...)
