"""When and how fast sites and providers may be used."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.store.columns import count, empty, identity, moment
from fleet.store.tables.table import Table


class Window(Table, table=True):
    """When a site may carry bulk traffic, in its own local time, as its line declares it."""

    id: str = identity("wi")
    site_id: str = Field(foreign_key="site.id", index=True)
    timezone: str
    opens: str
    closes: str


class Budget(Table, table=True):
    """How fast a site may be used; None is no limit."""

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    streams: int = 4
    bytes_per_second: int | None = count()
    source: str = ""


class Provider(Table, table=True):
    """What all sites together may ask of a provider, and how it takes that; None is no limit.

    ``factor`` of its budget held at ``strained_at``; before ``rests_until`` it is asked nothing.
    """

    name: str = Field(primary_key=True)
    hosts: list[str] = Field(default_factory=empty, sa_type=JSON)
    requests_per_minute: int | None = None
    bytes_per_5_minutes: int | None = count()
    streams: int
    weight: float = 1.0
    source: str = ""
    factor: float = 1.0
    strained_at: datetime | None = moment()
    rests_until: datetime | None = moment()
    reason: str = ""


class Slice(Table, table=True):
    """A share, in millionths, of a provider's budget that an attempt holds; of 0, it waits."""

    __table_args__ = (Index("ix_slice_books", "provider", "until"),)
    id: str = identity("sl")
    provider: str = Field(foreign_key="provider.name")
    attempt_id: str = Field(foreign_key="attempt.id", index=True)
    share: int
    starts: datetime = moment(default=...)
    until: datetime = moment(default=...)
