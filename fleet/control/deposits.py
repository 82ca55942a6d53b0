"""What the record of a version shall hold and say, from what the store knows.

Rules this module keeps:

- Whatever is asked twice gets the same papers: mirrors are those that the publication names.
- Only what another site has read a piece of is named as a mirror, and seeds a torrent of the
  record.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from fleet.control import descriptions, incidents, manifests, reading, torrents
from fleet.control.errors import RefusedError
from fleet.invenio import Wanted
from fleet.places import RecordsPlace
from fleet.planning.executors import WHOLE_DRIVERS
from fleet.planning.repositories import RecordLimits
from fleet.planning.states import PublicationState, ReplicaState
from fleet.repositories import Contents, Deposit, Paper, composed, urn
from fleet.settings import CentreSettings
from fleet.store import versioning
from fleet.store.tables import Artifact, Publication, Replica, Shard, Site, Version

Mirrors = Mapping[str, Sequence[int]]
_MANIFEST, _ROLE = "manifest.json", "manifest"
_LIMITS = RecordLimits()
_LONGEST = 200  # characters of a torrent's name
_SOMEWHERE = ("https://mirror.example.org/",)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version as its record shall be.

    ``data`` are those of its files that an executor brings, ``unknown`` those of them whose md5
    nobody knows yet.
    """

    deposit: Deposit
    contents: Contents
    data: tuple[Wanted, ...]

    @property
    def unknown(self) -> list[str]:
        """Name the data files of which no md5 is known."""
        return [one.key for one in self.data if not one.md5]


def place(site: Site) -> RecordsPlace:
    """Say where a repository is."""
    return RecordsPlace.model_validate(site.store)


def prepare(
    session: Session, settings: CentreSettings, row: Publication, *, final: bool
) -> Prepared:
    """Say what the record of a publication shall be.

    Until it is ``final``, room is kept for the mirrors that are not known yet.

    Raises:
        LackingError: a record cannot do without something that nobody said.
        Unfit: not even its papers go into a record.
    """
    version = session.get_one(Version, row.version_id)
    urls = _urls(session, version, row.mirrors)
    told = urls if final or urls else _SOMEWHERE
    data, contents = _contents(session, settings, version, row.mirrors, told, whole=True)
    if not contents.whole:
        data, contents = _contents(session, settings, version, row.mirrors, told, whole=False)
    described = descriptions.for_record(
        session,
        version,
        whole=contents.whole,
        mirrors=urls,
    )
    site = session.get_one(Site, row.site_id)
    deposit = Deposit(
        urn(version.id),
        described,
        contents.files,
        papers=frozenset(contents.papers),
        previous=_previous(session, version, row.site_id),
        community=place(site).community,
        limits=_LIMITS,
    )
    return Prepared(deposit, contents, data if contents.whole else ())


def _contents(
    session: Session,
    settings: CentreSettings,
    version: Version,
    mirrors: Mirrors,
    urls: Sequence[str],
    *,
    whole: bool,
) -> tuple[tuple[Wanted, ...], Contents]:
    """Choose the files of a record that is to have the data, or to lead to them."""
    artifacts = _artifacts(session, version.id)
    papers, held = _manifest(session, version, artifacts, whole=whole)
    data = tuple(
        Wanted(one.path, one.size or 0, one.md5 or "") for one in artifacts if one is not held
    )
    sums = {one.path: one.sha256 or "" for one in artifacts}
    made = _torrents(session, settings, version, mirrors, held)
    return data, composed(data, sums, papers, made, urls, _LIMITS)


def data_of(session: Session, version: Version) -> list[Artifact]:
    """Return the files of a version that an executor brings into the draft of its record."""
    artifacts = _artifacts(session, version.id)
    _, held = _manifest(session, version, artifacts, whole=True)
    return [one for one in artifacts if one is not held]


def mirrors(session: Session, version: Version) -> dict[str, list[int]]:
    """Name the sites where a version is read, with its shards there by position; none are all.

    Those that have all of it; only where none has, those that have a part.
    """
    faults = incidents.reasons(session)
    rows = session.exec(
        select(Replica.site_id, Shard.position)
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .join(Site, col(Site.id) == col(Replica.site_id))
        .where(
            Shard.version_id == version.id,
            Replica.state == ReplicaState.AVAILABLE,
            col(Replica.proved_at).is_not(None),
            col(Site.retired).is_(False),
            col(Site.driver).not_in(WHOLE_DRIVERS),
        )
        .order_by(col(Replica.site_id), col(Shard.position))
    ).all()
    held: dict[str, list[int]] = {}
    for site, position in rows:
        if site not in faults:
            held.setdefault(site, []).append(position)
    shards = len(_shards(session, version.id))
    whole = {site: list[int]() for site, there in held.items() if len(there) == shards}
    return whole or held


def _artifacts(session: Session, version: str) -> list[Artifact]:
    rows = session.exec(
        select(Artifact).where(Artifact.version_id == version, col(Artifact.shard_id).is_not(None))
    ).all()
    return sorted(rows, key=lambda one: one.path)


def _manifest(
    session: Session, version: Version, artifacts: Sequence[Artifact], *, whole: bool
) -> tuple[list[Paper], Artifact | None]:
    """Return the manifest, and the file of the version that it is, which needs no executor.

    One that was written before all md5s were known is brought like the data, where those are: as
    they come the md5s are learned, and it could not be written again as it was.  A version that no
    manifest can list has its checksums all the same.
    """
    own = next((one for one in artifacts if one.role == _ROLE), None)
    try:
        data = manifests.of(session, version)
    except RefusedError:
        return [], None
    if own is None:
        return [Paper(_MANIFEST, data)], None
    lasts = not whole or all(one.md5 for one in artifacts if one is not own)
    if not lasts or own.sha256 != hashlib.sha256(data).hexdigest():
        return [], None
    return [Paper(own.path, data)], own


def _shards(session: Session, version: str) -> Sequence[Shard]:
    return session.exec(
        select(Shard).where(Shard.version_id == version).order_by(col(Shard.position))
    ).all()


def _torrents(
    session: Session,
    settings: CentreSettings,
    version: Version,
    mirrors: Mirrors,
    manifest: Artifact | None,
) -> list[Paper]:
    """Make the torrents of a version, but of the manifest, which is in the record itself."""
    own = manifest.shard_id if manifest else None
    shards = [one for one in _shards(session, version.id) if one.id != own or one.files > 1]
    sites = _sites(session, mirrors)
    named = Counter(shard.name for shard in shards)
    papers = []
    for shard in shards:
        near = [
            sites[name] for name, there in mirrors.items() if not there or shard.position in there
        ]
        several = f".{shard.infohash}" if named[shard.name] > 1 else ""
        data = torrents.torrent_with(session, shard, near, settings.trackers)
        papers.append(Paper(f"{shard.name[:_LONGEST]}{several}.torrent", data))
    return papers


def _sites(session: Session, names: Iterable[str]) -> dict[str, Site]:
    return {name: session.get_one(Site, name) for name in names}


def _urls(session: Session, version: Version, mirrors: Mirrors) -> tuple[str, ...]:
    """Name the addresses below which the files of a version are read at its mirrors."""
    folder = versioning.folder(version)
    sites = _sites(session, mirrors).values()
    return tuple(reading.at(site).url(folder, "") for site in sites)


def _previous(session: Session, version: Version, site: str) -> str:
    """Name a record of the same dataset at a repository: its concept gets the version."""
    record = (
        select(Publication.record)
        .join(Version, col(Version.id) == col(Publication.version_id))
        .where(
            Version.dataset_id == version.dataset_id,
            Version.id != version.id,
            Publication.site_id == site,
            Publication.state == PublicationState.PUBLISHED,
        )
        .order_by(col(Publication.published_at).desc())
    )
    return session.exec(record).first() or ""
