"""What people are shown of datasets and sites: plain values read from the store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from fleet.control import progress
from fleet.control.errors import NotFoundError
from fleet.control.orders import url_at
from fleet.control.progress import Progress
from fleet.planning.states import ReplicaState
from fleet.store import holdings
from fleet.store.tables import Artifact, Dataset, Incident, Replica, Seeding, Shard, Site, Version

_FILES_SHOWN = 100


@dataclass(frozen=True)
class DatasetLine:
    """One dataset in a list."""

    id: str
    title: str
    version: str
    progress: Progress


@dataclass(frozen=True)
class CopyView:
    """One site's copy of a version: counts and bytes of its shards there."""

    site: str
    country: str
    provider: str
    shards: int
    available: int
    bytes: int
    verified_at: datetime | None
    uploaded: int
    reason: str


@dataclass(frozen=True)
class TorrentView:
    """One shard's torrent."""

    infohash: str
    name: str
    files: int
    size: int


@dataclass(frozen=True)
class PlaceView:
    """Where a file can be read: a site with a verified copy."""

    site: str
    url: str


@dataclass(frozen=True)
class FileView:
    """One artifact, and where it can be read now."""

    path: str
    size: int | None
    sha256: str | None
    state: str
    reason: str
    places: tuple[PlaceView, ...]


@dataclass(frozen=True)
class DatasetView:
    """All about a dataset's newest version; ``files`` are its first few."""

    id: str
    title: str
    version: str
    progress: Progress
    copies: tuple[CopyView, ...]
    torrents: tuple[TorrentView, ...]
    files: tuple[FileView, ...]


@dataclass(frozen=True)
class SiteLine:
    """One site and what it holds."""

    id: str
    kind: str
    country: str
    provider: str
    available: int
    bytes: int
    incident: str


def datasets(session: Session) -> list[DatasetLine]:
    """List the datasets, each with its newest version."""
    lines = []
    for row in session.exec(select(Dataset).order_by(Dataset.id)).all():
        version = _newest(session, row.id)
        if version is not None:
            done = progress.of(session, version.id)
            lines.append(DatasetLine(row.id, row.title, version.label, done))
    return lines


def dataset(session: Session, name: str) -> DatasetView:
    """Show one dataset.

    Raises:
        NotFoundError: there is no such dataset.
    """
    row = holdings.find_dataset(session, name)
    version = _newest(session, row.id) if row else None
    if row is None or version is None:
        raise NotFoundError(f"there is no dataset {name!r}")
    return DatasetView(
        id=row.id,
        title=row.title,
        version=version.label,
        progress=progress.of(session, version.id),
        copies=tuple(_copies(session, version)),
        torrents=tuple(_torrents(session, version)),
        files=tuple(_files(session, version)),
    )


def sites(session: Session) -> list[SiteLine]:
    """List the active sites."""
    held = {
        site: (int(number), int(size or 0))
        for site, number, size in session.exec(
            select(Replica.site_id, func.count(), func.sum(col(Shard.size)))
            .join(Shard, col(Shard.id) == col(Replica.shard_id))
            .where(Replica.state == ReplicaState.AVAILABLE)
            .group_by(col(Replica.site_id))
        ).all()
    }
    troubles = {
        row.site_id: row.reason
        for row in session.exec(select(Incident).where(col(Incident.ended_at).is_(None))).all()
    }
    rows = session.exec(select(Site).where(col(Site.retired).is_(False)).order_by(Site.id)).all()
    return [
        SiteLine(
            row.id,
            row.kind,
            row.country,
            row.provider,
            *held.get(row.id, (0, 0)),
            troubles.get(row.id, ""),
        )
        for row in rows
    ]


def _newest(session: Session, dataset_id: str) -> Version | None:
    return session.exec(
        select(Version)
        .where(Version.dataset_id == dataset_id)
        .order_by(col(Version.created_at).desc())
    ).first()


def _copies(session: Session, version: Version) -> list[CopyView]:
    rows = session.exec(
        select(Replica, Shard, Site)
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .join(Site, col(Site.id) == col(Replica.site_id))
        .where(Shard.version_id == version.id, Replica.state != ReplicaState.RETIRED)
        .order_by(Site.id)
    ).all()
    by_site: dict[str, list[tuple[Replica, Shard, Site]]] = {}
    for replica, shard, site in rows:
        by_site.setdefault(site.id, []).append((replica, shard, site))
    return [_copy(session, group) for group in by_site.values()]


def _copy(session: Session, group: list[tuple[Replica, Shard, Site]]) -> CopyView:
    there = [one for one in group if one[0].state == ReplicaState.AVAILABLE]
    site = group[0][2]
    verified = [one[0].verified_at for one in there if one[0].verified_at]
    uploaded = session.exec(
        select(func.sum(col(Seeding.uploaded))).where(
            Seeding.site_id == site.id,
            col(Seeding.infohash).in_([one[1].infohash for one in there]),
        )
    ).one()
    reasons = {one[0].reason for one in group}
    return CopyView(
        site=site.id,
        country=site.country,
        provider=site.provider,
        shards=len(group),
        available=len(there),
        bytes=sum(one[1].size for one in there),
        verified_at=min(verified, default=None),
        uploaded=int(uploaded or 0),
        reason="; ".join(sorted(reasons)[:3]),
    )


def _torrents(session: Session, version: Version) -> list[TorrentView]:
    shards = session.exec(
        select(Shard)
        .where(Shard.version_id == version.id, col(Shard.infohash).is_not(None))
        .order_by(col(Shard.position))
    ).all()
    views = []
    for shard in shards:
        first = holdings.artifacts_of(session, shard.id)[0]
        name = first.path if shard.files == 1 else f"{version.dataset_id}/{version.label}"
        views.append(TorrentView(shard.infohash or "", name, shard.files, shard.size))
    return views


def _files(session: Session, version: Version) -> list[FileView]:
    rows = session.exec(
        select(Artifact)
        .where(Artifact.version_id == version.id)
        .order_by(col(Artifact.size).desc(), col(Artifact.path))
        .limit(_FILES_SHOWN)
    ).all()
    sites: dict[str, list[Site]] = {}
    views = []
    for row in rows:
        if row.shard_id and row.shard_id not in sites:
            sites[row.shard_id] = list(holdings.readable(session, row.shard_id))
        places = tuple(
            PlaceView(site.id, url_at(site.read_url, holdings.folder(version), row.path))
            for site in sites.get(row.shard_id or "", ())
        )
        views.append(FileView(row.path, row.size, row.sha256, row.state, row.reason, places))
    return views
