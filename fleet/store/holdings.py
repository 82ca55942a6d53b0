"""Named queries over versions, artifacts, shards and replicas."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import func, or_
from sqlmodel import Session, SQLModel, col, select

from fleet.planning.states import ArtifactState, ReplicaState, TransferState, VersionState
from fleet.store.tables import (
    Artifact,
    Dataset,
    DatasetAlias,
    Replica,
    Shard,
    Site,
    Transfer,
    Version,
)
from fleet.store.transfers import LIVE

Row = TypeVar("Row", bound=SQLModel)
TROUBLED = (ReplicaState.SUSPECT, ReplicaState.BAD, ReplicaState.MISSING)
HOLDING = (ReplicaState.PENDING, ReplicaState.COPYING, ReplicaState.AVAILABLE, ReplicaState.SUSPECT)


def find_dataset(session: Session, name: str) -> Dataset | None:
    """Return the dataset called ``name``, by its id or by an old name of it."""
    alias = session.get(DatasetAlias, name)
    return session.get(Dataset, alias.dataset_id if alias else name)


def lock(session: Session, table: type[Row], key: str | None) -> Row:
    """Take a row for this unit of work, and read it anew.

    Whoever sets or clears ``dirty`` does so under this lock: cleared without it, a flag set by
    another unit of work at the same time would be lost.
    """
    return session.get_one(table, key, with_for_update=True, populate_existing=True)


def folder(version: Version) -> str:
    """Return where a version lies below every site's root."""
    return f"{version.dataset_id}/{version.label}"


def artifacts_of(session: Session, shard: str) -> list[Artifact]:
    """Return a shard's artifacts, in the order they lie in it.

    That order is by code point; a database's own collation may differ.
    """
    rows = session.exec(select(Artifact).where(Artifact.shard_id == shard)).all()
    return sorted(rows, key=lambda artifact: artifact.path)


def ingested_by(session: Session, transfer: str) -> Sequence[Artifact]:
    """Return the artifacts that an ingest has yet to bring."""
    return session.exec(
        select(Artifact)
        .where(Artifact.ingest_id == transfer, Artifact.state == ArtifactState.EXPECTED)
        .order_by(col(Artifact.path))
    ).all()


def expected(session: Session, version: str) -> int:
    """Count the artifacts of a version that are neither known nor excluded."""
    return session.exec(
        select(func.count())
        .select_from(Artifact)
        .where(Artifact.version_id == version, Artifact.state == ArtifactState.EXPECTED)
    ).one()


def without_ingest(session: Session, version: str, limit: int) -> Sequence[Artifact]:
    """Return artifacts of a version that no transfer fetches yet."""
    return session.exec(
        select(Artifact)
        .where(
            Artifact.version_id == version,
            Artifact.state == ArtifactState.EXPECTED,
            col(Artifact.ingest_id).is_(None),
        )
        .order_by(col(Artifact.path))
        .limit(limit)
    ).all()


def excluded(session: Session, version: str) -> int:
    """Count the artifacts of a version that could not be had."""
    return session.exec(
        select(func.count())
        .select_from(Artifact)
        .where(Artifact.version_id == version, Artifact.state == ArtifactState.EXCLUDED)
    ).one()


def known_files(session: Session, version: str) -> list[tuple[str, str, int]]:
    """Return id, path and size of the artifacts of a version whose bytes are known."""
    rows = session.exec(
        select(Artifact.id, Artifact.path, Artifact.size).where(
            Artifact.version_id == version, Artifact.state == ArtifactState.KNOWN
        )
    ).all()
    return [(one, path, size or 0) for one, path, size in rows]


def ingest_sites(session: Session, artifacts: Iterable[Artifact]) -> dict[str, str]:
    """Map each artifact's id to the site whose ingest brought it."""
    by_transfer = {artifact.id: artifact.ingest_id for artifact in artifacts if artifact.ingest_id}
    rows = session.exec(
        select(Transfer.id, Transfer.target_id).where(
            col(Transfer.id).in_(set(by_transfer.values()))
        )
    ).all()
    sites = dict(rows)
    return {one: sites[transfer] for one, transfer in by_transfer.items() if transfer in sites}


def replica(session: Session, shard: str, site: str) -> Replica | None:
    """Return what is believed of a shard at a site."""
    return session.exec(
        select(Replica).where(Replica.shard_id == shard, Replica.site_id == site)
    ).one_or_none()


def replicas(session: Session, shard: str) -> Sequence[Replica]:
    """Return what is believed of a shard at every site."""
    return session.exec(select(Replica).where(Replica.shard_id == shard)).all()


def readable(session: Session, shard: str) -> Sequence[Site]:
    """Return the sites that hold a verified copy of a shard and can be read from."""
    return session.exec(
        select(Site)
        .join(Replica, col(Replica.site_id) == col(Site.id))
        .where(
            Replica.shard_id == shard,
            Replica.state == ReplicaState.AVAILABLE,
            Site.read_url != "",
        )
    ).all()


def fixity_due(session: Session, now: datetime, limit: int) -> Sequence[Replica]:
    """Return the copies whose time to be read again has come."""
    return session.exec(
        select(Replica)
        .where(col(Replica.look_at) <= now)
        .order_by(col(Replica.look_at))
        .limit(limit)
        .with_for_update()
    ).all()


def bytes_held(session: Session) -> dict[str, int]:
    """Sum the bytes that each site holds or is to hold."""
    rows = session.exec(
        select(Replica.site_id, func.sum(col(Shard.size)))
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(col(Replica.state).in_(HOLDING))
        .group_by(col(Replica.site_id))
    ).all()
    return {site: int(total or 0) for site, total in rows}


def bytes_queued(session: Session) -> dict[str, int]:
    """Sum the bytes that each site is still to fetch."""
    rows = session.exec(
        select(Transfer.executor_id, func.sum(col(Transfer.size)))
        .where(col(Transfer.state).in_(LIVE))
        .group_by(col(Transfer.executor_id))
    ).all()
    return {site: int(total or 0) for site, total in rows}


def next_version(session: Session, now: datetime) -> Version | None:
    """Return a version about which something changed, or whose time to be looked at has come."""
    return session.exec(
        select(Version)
        .where(or_(col(Version.dirty).is_(True), col(Version.look_at) <= now))
        .order_by(col(Version.id))
        .limit(1)
        .with_for_update()
    ).first()


def dirty_shards(session: Session, limit: int) -> Sequence[Shard]:
    """Return shards of finished versions about which something changed."""
    return session.exec(
        select(Shard)
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            col(Shard.dirty).is_(True),
            col(Version.state).in_((VersionState.PUBLISHED, VersionState.SUPERSEDED)),
        )
        .order_by(col(Shard.id))
        .limit(limit)
        .with_for_update(of=Shard)
    ).all()


def counts(session: Session, version: str) -> dict[str, int]:
    """Count a version's transfers by state."""
    rows = session.exec(
        select(Transfer.state, func.count())
        .where(Transfer.version_id == version)
        .group_by(col(Transfer.state))
    ).all()
    return {str(state): number for state, number in rows}


def suspended(session: Session, version: str) -> Sequence[Transfer]:
    """Return a version's transfers that wait for a person."""
    return session.exec(
        select(Transfer).where(
            Transfer.version_id == version, Transfer.state == TransferState.SUSPENDED
        )
    ).all()


def site_lines(session: Session, sites: Iterable[str]) -> list[dict[str, Any]]:
    """Count each site's replicas by what matters on a screen, and the transfers to it."""
    copies = {
        (site, state): number
        for site, state, number in session.exec(
            select(Replica.site_id, Replica.state, func.count()).group_by(
                col(Replica.site_id), col(Replica.state)
            )
        ).all()
    }
    running = dict(
        session.exec(
            select(Transfer.target_id, func.count())
            .where(Transfer.state == TransferState.RUNNING)
            .group_by(col(Transfer.target_id))
        ).all()
    )
    return [
        {
            "site": site,
            "available": copies.get((site, ReplicaState.AVAILABLE), 0),
            "copying": copies.get((site, ReplicaState.COPYING), 0),
            "bad": sum(copies.get((site, state), 0) for state in TROUBLED),
            "transfers": running.get(site, 0),
        }
        for site in sites
    ]
