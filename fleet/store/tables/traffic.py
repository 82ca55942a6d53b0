"""How much traffic was measured, and how much is usual."""

from datetime import datetime

from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.store.columns import count, empty, moment
from fleet.store.tables.table import Table


class TrafficBin(Table, table=True):
    """15 minutes of a subject's traffic, as one observer saw it.

    A subject is a site (its interfaces, its own transfers left out) or the host of a provider (what
    our sites had from it).  ``seconds`` were measured of it, so that a mean can be told;
    ``latency_ms`` is the sum over ``samples`` that measured it.
    """

    subject: str = Field(primary_key=True)
    observer: str = Field(primary_key=True)
    start: datetime = moment(primary_key=True, default=...)
    bytes_in: int = count(default=0)
    bytes_out: int = count(default=0)
    seconds: float = 0.0
    samples: int = 0
    throttled: int = 0
    latency_ms: float = 0.0


class Usual(Table, table=True):
    """The usual week of a subject's traffic, and why its clock is doubted if it is.

    ``clock`` is what the centre's clock says of the site's, ``shifted`` what its neighbours do.
    """

    subject: str = Field(primary_key=True)
    timezone: str = ""
    hours: list[float] = Field(default_factory=empty, sa_type=JSON)
    newest: dict[str, float] = Field(default_factory=dict, sa_type=JSON)
    confidence: float | None = None
    weeks: int = 0
    measured: float = 0.0
    clock: str = ""
    shifted: str = ""
    derived_at: datetime | None = moment()
    look_at: datetime | None = moment(index=True)
