"""Datasets, their versions, and the files and shards that those are made of."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, false
from sqlalchemy.types import JSON
from sqlmodel import Field

from fleet.planning.states import ArtifactState, VersionState
from fleet.store.columns import count, empty, identity, moment
from fleet.store.tables.table import Table


class Dataset(Table, table=True):
    """A stable, opaque, case-sensitive id that holds versions.

    ``description`` is what ``fleet.descriptions`` reads, and ``doi`` stands for all versions.
    """

    id: str = Field(primary_key=True)
    title: str = ""
    doi: str | None = None
    description: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = moment(default=...)


class DatasetAlias(Table, table=True):
    """An old name of a dataset, still valid."""

    alias: str = Field(primary_key=True)
    dataset_id: str = Field(foreign_key="dataset.id", index=True)


class Version(Table, table=True):
    """An immutable set of artifacts, once it is published.

    ``sequence`` is given then, and rises from one published version of a dataset to the next.
    An ``edition`` is one that the press made; only of such no copy has to be anywhere, where it is
    ``unneeded``.
    """

    __table_args__ = (
        UniqueConstraint("dataset_id", "label"),
        Index("ix_version_sequence", "dataset_id", "sequence", unique=True),
    )
    id: str = identity("ve")
    dataset_id: str = Field(foreign_key="dataset.id", index=True)
    label: str
    state: str = Field(default=VersionState.DRAFT)
    licence: str = ""
    licence_retrieved_at: datetime | None = moment()
    doi: str | None = None
    source: str = ""
    source_root: str = ""
    notes: list[str] = Field(default_factory=empty, sa_type=JSON)
    previous_id: str | None = None
    sequence: int | None = None
    created_at: datetime = moment(default=...)
    published_at: datetime | None = moment()
    edition: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    unneeded: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    dirty: bool = Field(default=False, index=True)
    look_at: datetime | None = moment(index=True)
    reason: str = ""


class Artifact(Table, table=True):
    """One file of a version; its sha256 is its identity.

    ``ingest_id`` is the one transfer that fetches it from its origins; ``tried`` names the
    sites that could not do their part, so that others were given it.  ``pieces`` and ``layer``
    name the blobs with the v1 and the BEP 52 hashes of its pieces of ``piece_length`` bytes.
    """

    __table_args__ = (
        UniqueConstraint("version_id", "path"),
        Index("ix_artifact_progress", "version_id", "state", "ingest_id"),
    )
    id: str = identity("ar")
    version_id: str = Field(foreign_key="version.id")
    path: str
    role: str = "data"
    media_type: str | None = None
    origins: list[str] = Field(default_factory=empty, sa_type=JSON)
    state: str = Field(default=ArtifactState.EXPECTED)
    reason: str = ""
    size: int | None = count()
    sha256: str | None = Field(default=None, index=True)
    md5: str | None = None
    bep52_root: str | None = None
    piece_length: int | None = None
    pieces: str | None = None
    layer: str | None = None
    ingest_id: str | None = Field(default=None, index=True)
    tried: list[str] = Field(default_factory=empty, sa_type=JSON)
    shard_id: str | None = Field(default=None, index=True)
    offset: int | None = count()


class Shard(Table, table=True):
    """What is placed, moved and seeded: one large artifact, or a bundle of small ones.

    It is sealed when its v1 pieces, and so its infohash, are known; ``name`` is then its torrent's
    and ``folder`` where that torrent lies below a site's root.
    """

    __table_args__ = (
        UniqueConstraint("version_id", "position"),
        Index("ix_shard_dirty", "dirty", "id"),
    )
    id: str = identity("sh")
    version_id: str = Field(foreign_key="version.id")
    position: int
    size: int = count(default=...)
    files: int
    piece_length: int
    pieces: str | None = None
    infohash: str | None = Field(default=None, index=True)
    name: str = ""
    folder: str = ""
    dirty: bool = True
