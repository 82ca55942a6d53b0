"""Rows that the database's own triggers write, so that no change goes unnoticed."""

from sqlalchemy import BigInteger, Index, Integer, false, text
from sqlmodel import Field

from fleet.store.columns import count
from fleet.store.tables.table import Table


class SiteLoad(Table, table=True):
    """By how many bytes something changed what a site holds, or what it has yet to do.

    A site's sum is what counts.  The database's own triggers note each change of a replica, an
    artifact or a transfer, whoever makes it; rows, since units of work that all counted on one
    would wait for each other.
    """

    id: int | None = Field(
        default=None,
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
    )
    site_id: str
    held: int = count(default=0)
    queued: int = count(default=0)


class VersionChange(Table, table=True):
    """How often something changed of a public version, or of a copy of its shard if one is named.

    A version's sum is what counts: another one than before says that what is known of it is old.
    Triggers note them, as rows for the reason that ``SiteLoad`` has; ``folded`` is what notes were
    added up to.
    """

    __table_args__ = (
        Index(
            "ix_versionchange_note",
            "id",
            sqlite_where=text("folded = 0"),
            postgresql_where=text("NOT folded"),
        ),
        Index(
            "ix_versionchange_sum",
            "version_id",
            sqlite_where=text("folded = 1"),
            postgresql_where=text("folded"),
        ),
    )
    id: int | None = Field(
        default=None,
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
    )
    version_id: str
    shard_id: str | None = None
    changes: int = count(default=...)
    folded: bool = Field(default=False, sa_column_kwargs={"server_default": false()})


class DatasetChange(Table, table=True):
    """That something changed of what the catalogue tells of a dataset, or of all that a site has.

    A ``proof`` is that a copy was read again and is well.  Triggers note them, as rows for the
    reason that ``SiteLoad`` has; see migration 0017.
    """

    id: int | None = Field(
        default=None,
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
    )
    dataset_id: str | None = None
    site_id: str | None = None
    proof: bool = False
