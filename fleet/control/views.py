"""What people are shown of datasets and sites: plain values read from the store."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from fleet.control import counted, progress, published, reading, served
from fleet.control.aliases import aliases_of
from fleet.control.counted import Swarm
from fleet.control.errors import NotFoundError
from fleet.control.progress import Progress
from fleet.control.published import PublicationLine
from fleet.control.served import Serving
from fleet.planning.reading import Reading
from fleet.planning.states import ReplicaState, VersionState
from fleet.store import cataloguing, faults, holdings, versioning
from fleet.store.tables import (
    Artifact,
    Dataset,
    Incident,
    Replica,
    Shard,
    Site,
    Uploading,
    Version,
)

_FILES_SHOWN = 100


@dataclass(frozen=True)
class DatasetLine:
    """One dataset in a list; ``version`` and ``draft`` are as in ``DatasetView``."""

    id: str
    title: str
    version: str
    draft: str
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
class AliasView:
    """A torrent that others made of a shard's bytes; it can be had once it is ``verified``."""

    infohash: str
    name: str
    state: str
    reason: str
    swarm: Swarm


@dataclass(frozen=True)
class TorrentView:
    """One shard's torrent, and those that others made of the same bytes."""

    infohash: str
    name: str
    files: int
    size: int
    swarm: Swarm
    aliases: tuple[AliasView, ...]


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
class VersionLine:
    """A version that was published, and its DOI, if it has one."""

    label: str
    state: str
    published_at: datetime | None
    doi: str | None


@dataclass(frozen=True)
class DatasetView:
    """All about a version of a dataset; ``files`` are the first of it by path.

    It is the published one; while none is, the newest one; a newer draft is named, with its reason.
    ``served`` tells where which version has bare names, below ``processed/``; ``versions`` are all
    that were published, the newest first, and ``concept_doi`` stands for all of them.
    """

    id: str
    title: str
    version: str
    draft: str
    doi: str | None
    concept_doi: str | None
    versions: tuple[VersionLine, ...]
    progress: Progress
    records: tuple[PublicationLine, ...]
    copies: tuple[CopyView, ...]
    served: tuple[Serving, ...]
    torrents: tuple[TorrentView, ...]
    files: tuple[FileView, ...]


@dataclass(frozen=True)
class UploadsLine:
    """What a site's seeder says of its uploads; None is as in its report."""

    month: str
    sent: int | None
    bytes_per_month: int | None
    bytes_per_second: int | None
    reason: str
    until: datetime | None
    at: datetime


@dataclass(frozen=True)
class SiteLine:
    """One site, what it holds, and what its seeder says of its uploads, if it has one."""

    id: str
    kind: str
    country: str
    provider: str
    available: int
    bytes: int
    incident: str
    uploads: UploadsLine | None


def datasets(session: Session) -> list[DatasetLine]:
    """List the datasets, each with the version that is shown of it."""
    lines = []
    for row in session.exec(select(Dataset).order_by(Dataset.id)).all():
        version, draft = _shown(session, row.id)
        if version is not None:
            done = progress.of(session, version.id)
            lines.append(DatasetLine(row.id, row.title, version.label, draft, done))
    return lines


def dataset(session: Session, name: str, now: datetime, label: str = "") -> DatasetView:
    """Show one dataset, as it is ``now``; of its versions that with a label, if one is given.

    Raises:
        NotFoundError: there is no such dataset, or no such version was published.
    """
    row = versioning.find_dataset(session, name)
    version, draft = _shown(session, row.id) if row else (None, "")
    if row is None or version is None:
        raise NotFoundError(f"there is no dataset {name!r}")
    public = list(reversed(cataloguing.versions(session, row.id)))
    if label:
        version, draft = next((one for one in public if one.label == label), None), ""
    if version is None:
        raise NotFoundError(f"the dataset {name!r} has no published version {label!r}")
    offered = version.state != VersionState.WITHDRAWN  # else nothing leads to its files
    return DatasetView(
        id=row.id,
        title=row.title,
        version=version.label,
        draft=draft,
        doi=version.doi,
        concept_doi=row.doi,
        versions=tuple(
            VersionLine(one.label, one.state, one.published_at, one.doi) for one in public
        ),
        progress=progress.of(session, version.id),
        records=tuple(published.of_version(session, version.id)),
        copies=tuple(_copies(session, version)),
        served=tuple(served.told(session, row.id)),
        torrents=tuple(_torrents(session, version, now)) if offered else (),
        files=tuple(_files(session, version, offered=offered)),
    )


def sites(session: Session) -> list[SiteLine]:
    """List the active sites."""
    held = {
        site: (int(number), int(size or 0))
        for site, number, size in session.exec(
            select(Replica.site_id, func.count(), func.sum(col(Shard.size)))
            .join(Shard, col(Shard.id) == col(Replica.shard_id))
            .where(faults.counts())
            .group_by(col(Replica.site_id))
        ).all()
    }
    troubles = {
        row.site_id: row.reason
        for row in session.exec(select(Incident).where(col(Incident.ended_at).is_(None))).all()
    }
    told = {
        row.site_id: UploadsLine(**row.model_dump(exclude={"site_id"}))
        for row in session.exec(select(Uploading)).all()
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
            told.get(row.id),
        )
        for row in rows
    ]


def _shown(session: Session, dataset_id: str) -> tuple[Version | None, str]:
    """Return the version that people are shown, and what to say of a newer draft beside it."""
    newest_first = (
        select(Version)
        .where(Version.dataset_id == dataset_id)
        .order_by(col(Version.created_at).desc(), col(Version.id).desc())
    )
    newest = session.exec(newest_first).first()
    published = session.exec(newest_first.where(Version.state == VersionState.PUBLISHED)).first()
    if newest is None or published is None or newest.state != VersionState.DRAFT:
        return published or newest, ""
    return published, f"{newest.label}: {newest.reason}" if newest.reason else newest.label


def _copies(session: Session, version: Version) -> list[CopyView]:
    asked = session.exec(
        select(Site, func.count())
        .join(Replica, col(Replica.site_id) == col(Site.id))
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(
            Shard.version_id == version.id,
            Replica.state != ReplicaState.RETIRED,
            col(Site.retired).is_(False),
        )
        .group_by(col(Site.id))
        .order_by(col(Site.id))
    ).all()
    there = {
        site: (available, int(size), verified_at)
        for site, available, size, verified_at in session.exec(
            select(
                Replica.site_id,
                func.count(),
                func.sum(col(Shard.size)),
                func.min(col(Replica.verified_at)),
            )
            .join(Shard, col(Shard.id) == col(Replica.shard_id))
            .where(Shard.version_id == version.id, faults.counts())
            .group_by(col(Replica.site_id))
        ).all()
    }
    reasons, uploaded = _reasons(session, version), counted.uploaded(session, version.id)
    views = []
    for site, shards in asked:
        available, size, verified_at = there.get(site.id, (0, 0, None))
        views.append(
            CopyView(
                site=site.id,
                country=site.country,
                provider=site.provider,
                shards=shards,
                available=available,
                bytes=size,
                verified_at=verified_at,
                uploaded=uploaded.get(site.id, 0),
                reason="; ".join(sorted(reasons[site.id])[:3]),
            )
        )
    return views


def _reasons(session: Session, version: Version) -> dict[str, set[str]]:
    """Return why each site has its copies: every reason once."""
    reasons: dict[str, set[str]] = {}
    for site, reason in session.exec(
        select(Replica.site_id, Replica.reason)
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(Shard.version_id == version.id, Replica.state != ReplicaState.RETIRED)
        .distinct()
    ).all():
        reasons.setdefault(site, set()).add(reason)
    return reasons


def _torrents(session: Session, version: Version, now: datetime) -> list[TorrentView]:
    shards = session.exec(
        select(Shard)
        .where(Shard.version_id == version.id, col(Shard.infohash).is_not(None))
        .order_by(col(Shard.position))
    ).all()
    base = versioning.folder(version)
    aliases = aliases_of(session, version.id)
    swarms = counted.swarms(session, version.id, now)
    views = []
    for shard in shards:
        alone = f"{shard.folder}/{shard.name}".removeprefix(f"{base}/")
        name = alone if shard.files == 1 else base
        others = tuple(
            AliasView(
                one.infohash, one.name, one.state, one.reason, swarms.get(one.infohash, Swarm())
            )
            for one in aliases.get(shard.id, ())
        )
        infohash = shard.infohash or ""
        swarm = swarms.get(infohash, Swarm())
        views.append(TorrentView(infohash, name, shard.files, shard.size, swarm, others))
    return views


def _files(session: Session, version: Version, *, offered: bool) -> list[FileView]:
    rows = session.exec(
        select(Artifact)
        .where(Artifact.version_id == version.id)
        .order_by(col(Artifact.path))
        .limit(_FILES_SHOWN)
    ).all()
    sites: dict[str, dict[str, Reading]] = {}
    views = []
    for row in rows:
        if offered and row.shard_id and row.shard_id not in sites:
            readable = holdings.readable(session, row.shard_id)
            sites[row.shard_id] = reading.of(session, version.id, readable)
        places = tuple(
            PlaceView(site, at.url(versioning.folder(version), row.path))
            for site, at in sites.get(row.shard_id or "", {}).items()
        )
        views.append(FileView(row.path, row.size, row.sha256, row.state, row.reason, places))
    return views
