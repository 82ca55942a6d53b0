"""What was seen, by whom and when."""

from datetime import datetime
from typing import Any

from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.store.columns import identity, moment
from fleet.store.tables.table import Table


class Observation(Table, table=True):
    """Evidence, with its observer and its time."""

    id: str = identity("ob")
    kind: str = Field(index=True)
    observer: str
    site_id: str | None = Field(default=None, index=True)
    shard_id: str | None = None
    at: datetime = moment(default=...)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class SourceScore(Table, table=True):
    """How well one host has served one site: moving averages over attempts."""

    observer_id: str = Field(primary_key=True)
    host: str = Field(primary_key=True)
    bytes_per_second: float = 0.0
    error_share: float = 0.0
    updated_at: datetime = moment(default=...)
