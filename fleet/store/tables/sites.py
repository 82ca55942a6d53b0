"""Sites, and what is known to be wrong with them."""

from datetime import datetime
from typing import Any

from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.store.columns import count, empty, identity, moment
from fleet.store.tables.table import Table


class Site(Table, table=True):
    """A place that can hold replicas, as its line in the sites file declares it.

    While it is to be retired but holds copies that are needed, ``retiring`` is when that is looked
    at again.  ``store`` says where the objects lie of one that has no worker.
    """

    id: str = Field(primary_key=True)
    kind: str
    driver: str
    region: str = ""
    country: str = ""
    jurisdiction: str = ""
    operator: str = ""
    provider: str = ""
    arch: str = ""
    capacity: int | None = count()
    speed_mbps: int | None = None
    trusted: bool = False
    read_url: str = ""
    peer: str = ""
    fronts: list[str] = Field(default_factory=empty, sa_type=JSON)
    slots: int = 4
    retired: bool = False
    retiring: datetime | None = moment()
    silent: bool = False
    token_hash: str | None = None
    timezone: str = ""
    upload: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    egress_usd_per_gb: float = 0.0
    store: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class Incident(Table, table=True):
    """A confirmed fault of a site; open until ``ended_at``.

    One of the site as a whole goes through ``stage``s; ``samples`` are the transfers that read
    what was drawn by lot.
    """

    id: str = identity("in")
    site_id: str = Field(foreign_key="site.id", index=True)
    kind: str
    reason: str
    began_at: datetime = moment(default=...)
    ended_at: datetime | None = moment(index=True)
    stage: str = ""
    samples: list[str] = Field(default_factory=empty, sa_type=JSON)
    look_at: datetime | None = moment()


class Report(Table, table=True):
    """What a person says is wrong; it makes a probe due and decides nothing."""

    id: str = identity("rp")
    site_id: str = Field(foreign_key="site.id", index=True)
    dataset_id: str | None = None
    symptom: str
    at: datetime = moment(default=...)
