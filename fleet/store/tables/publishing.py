"""Versions at repositories, and under bare names in buckets."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.planning.states import PublicationState
from fleet.store.columns import identity, moment
from fleet.store.tables.table import Table


class Publication(Table, table=True):
    """A version at a repository: its draft, and then its record, with a DOI.

    ``asked``, ``record`` and ``doi`` are what ``fleet.repositories.Memory`` has; whoever speaks to
    the repository holds it until ``held_until``, under ``fence``.  ``mirrors`` were written into
    its papers: sites, each with the positions of the shards that it has, or none for all.
    ``whole`` says whether the data are in it or only those, and ``by_hand`` that a person asked.
    """

    __table_args__ = (UniqueConstraint("version_id", "site_id"),)
    id: str = identity("pu")
    version_id: str = Field(foreign_key="version.id")
    site_id: str = Field(foreign_key="site.id", index=True)
    state: str = Field(default=PublicationState.WANTED)
    asked: float | None = None
    record: str = ""
    doi: str = ""
    by_hand: bool = False
    whole: bool | None = None
    mirrors: dict[str, list[int]] = Field(default_factory=dict, sa_type=JSON)
    fence: int = 0
    held_until: datetime | None = moment()
    attempts: int = 0
    transfer_id: str | None = Field(default=None, index=True)
    reason: str = ""
    look_at: datetime | None = moment(index=True)
    created_at: datetime = moment(default=...)
    published_at: datetime | None = moment()


class Served(Table, table=True):
    """The version of a dataset that a site serves under bare names; None: none yet.

    ``waits`` is what the next one waits for until ``look_at``.
    """

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    dataset_id: str = Field(foreign_key="dataset.id", primary_key=True)
    version_id: str | None = Field(default=None, foreign_key="version.id")
    sequence: int = 0
    at: datetime | None = moment()
    waits: str = ""
    look_at: datetime | None = moment(index=True)
