"""Named queries over what the catalogue tells: published versions, but its own editions; copies."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, false, func, select
from sqlmodel import Session, col
from sqlmodel import select as rows_of

from fleet.planning.states import ArtifactState
from fleet.store import faults
from fleet.store.tables import Artifact, Replica, Shard, Site, Version

_ROWS_AT_ONCE = 5_000
_PUBLIC = col(Version.sequence).is_not(None)


def datasets(session: Session) -> list[str]:
    """Return the datasets that are told, by code point: all that have a published version."""
    published = rows_of(Version.dataset_id).where(_PUBLIC, col(Version.edition) == false())
    return sorted(session.exec(published.distinct()).all())  # a database's own order may differ


def sites(session: Session) -> list[str]:
    """Return the sites that files may be read at."""
    readable = rows_of(Site.id).where(Site.read_url != "", col(Site.retired).is_(False))
    return sorted(session.exec(readable).all())


def versions(session: Session, dataset: str) -> Sequence[Version]:
    """Return a dataset's versions that were published, the oldest first."""
    published = rows_of(Version).where(Version.dataset_id == dataset, _PUBLIC)
    return session.exec(published.order_by(col(Version.sequence))).all()


def artifacts(session: Session, version: str) -> Iterator[Sequence[Any]]:
    """Stream path, size, sha256, md5, media type, role, shard's id and offset of a version's files.

    In no order.
    """
    wanted: Select[*tuple[Any, ...]] = select(
        col(Artifact.path),
        col(Artifact.size),
        col(Artifact.sha256),
        col(Artifact.md5),
        col(Artifact.media_type),
        col(Artifact.role),
        col(Artifact.shard_id),
        col(Artifact.offset),
    ).where(col(Artifact.version_id) == version, col(Artifact.state) == ArtifactState.KNOWN)
    streamed = {"yield_per": _ROWS_AT_ONCE}
    yield from session.connection().execute(wanted, execution_options=streamed)


_COUNTED = select(func.count(), func.sum(col(Artifact.size))).where(
    col(Artifact.version_id) == bindparam("version"), col(Artifact.state) == ArtifactState.KNOWN
)
_TYPES = (
    select(col(Artifact.media_type))
    .where(
        col(Artifact.version_id) == bindparam("version"),
        col(Artifact.state) == ArtifactState.KNOWN,
        col(Artifact.media_type).is_not(None),
    )
    .distinct()
)
_FIRST = (
    rows_of(Artifact)
    .where(Artifact.version_id == bindparam("version"), Artifact.state == ArtifactState.KNOWN)
    .order_by(col(Artifact.path))
    .limit(bindparam("most"))
)


def contents(session: Session, version: str) -> tuple[int, int, list[str]]:
    """Count a version's files and their bytes, and name their media types."""
    asked = {"version": version}
    files, size = session.connection().execute(_COUNTED, asked).one()
    types = session.connection().execute(_TYPES, asked).scalars()
    return files, int(size or 0), sorted(one for one in types if one)


def first_artifacts(session: Session, version: str, most: int) -> Sequence[Artifact]:
    """Return the first of a version's files by path, in the order that the database has."""
    return session.exec(_FIRST, params={"version": version, "most": most}).all()


def shards(session: Session, version: str) -> Sequence[Shard]:
    """Return a version's shards, by position."""
    theirs = rows_of(Shard).where(Shard.version_id == version)
    return session.exec(theirs.order_by(col(Shard.position))).all()


def copies(session: Session, version: str) -> list[tuple[Site, int, datetime | None]]:
    """Return the site, the shard's position and the last proof of each copy that can be offered."""
    wanted = (
        rows_of(Site, Shard.position, Replica.verified_at)
        .join(Replica, col(Replica.site_id) == col(Site.id))
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(
            Shard.version_id == version,
            Site.read_url != "",
            col(Site.retired).is_(False),
            faults.counts(),
        )
    )
    return [(site, position, at) for site, position, at in session.exec(wanted).all()]
