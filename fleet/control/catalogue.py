"""What the catalogue tells, read from the store dataset by dataset.

Rules this module keeps:

- Only copies that count are told: verified where they lie, and not in doubt, nor their site.
- A version that was withdrawn keeps its entry, and nothing leads to its files.
- What a version was imported from is told if it is a public address, without what may be a secret
  of it: its query.  A path of the centre is not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import structlog
from sqlmodel import Session

from fleet.catalogue.entry import Artifact, Dataset, Entry, Mirror, Shard, address
from fleet.control import reading
from fleet.control.sources import Sealed
from fleet.descriptions import Description, Title
from fleet.planning import addresses
from fleet.planning.reading import Reading
from fleet.planning.states import VersionState
from fleet.settings import CentreSettings
from fleet.store import cataloguing, tables, versioning
from fleet.store.database import Store, is_away
from fleet.torrent.metainfo import magnet

_log = structlog.get_logger()
# What people built to be read from for years comes first
_STEADY: Final = ("object_store", "archive", "repository", "http", "node", "volunteer")
_LONGEST_TITLE: Final = 500
METALINK: Final = ".meta4"
"""What the redirector is asked for a file's metalink by, after its address."""


def datasets(
    store: Store, settings: CentreSettings, names: Iterable[str]
) -> Iterator[tuple[str, Dataset | None]]:
    """Read datasets one by one, each as it is at one moment; None has no published version.

    One that cannot be told of is left out, so that the catalogue keeps what it tells of it.

    Raises:
        DBAPIError: the database is away.
    """
    for name in names:
        try:
            with store.read() as session:
                told = dataset(session, settings, name)
        except Exception as error:
            if is_away(error):
                raise  # no dataset's fault
            _log.exception("dataset left out of the catalogue", dataset=name)
            continue
        yield name, told


def dataset(session: Session, settings: CentreSettings, name: str) -> Dataset | None:
    """Read one dataset; None if it has no published version."""
    row = session.get(tables.Dataset, name)
    versions = cataloguing.versions(session, name)
    if row is None or not versions:
        return None
    entries = (_entry(session, settings, version) for version in versions)
    return told(settings, row, entries)


def told(settings: CentreSettings, row: tables.Dataset, entries: Iterable[Entry]) -> Dataset:
    """Tell of a dataset as a whole."""
    centre = settings.centre_url.rstrip("/")
    return Dataset(row.id, tuple(entries), _description(row), row.doi or "", centre)


def _description(row: tables.Dataset) -> Description:
    said = Description.model_validate(row.description)
    if said.title != Title() or not row.title:
        return said
    plain = "".join(one if one.isprintable() else " " for one in row.title)[:_LONGEST_TITLE]
    return said.model_copy(update={"title": Title(en=plain)})


def _entry(session: Session, settings: CentreSettings, version: tables.Version) -> Entry:
    rows = cataloguing.shards(session, version.id)
    artifacts = _artifacts(session, version, {one.id: one.position for one in rows})
    if version.state == VersionState.WITHDRAWN:
        return entry(version, artifacts)
    shards = shards_of(settings, version, rows, artifacts)
    return entry(version, artifacts, shards, _mirrors(session, version, len(rows)))


def entry(
    version: tables.Version,
    artifacts: tuple[Artifact, ...] = (),
    shards: tuple[Shard, ...] = (),
    mirrors: tuple[Mirror, ...] = (),
) -> Entry:
    """Tell of a version that was published, and of as much of what it has as is given."""
    retrieved = version.licence_retrieved_at
    return Entry(
        label=version.label,
        sequence=version.sequence or 0,
        state=VersionState(version.state),
        published_at=version.published_at or version.created_at,
        artifacts=artifacts,
        licence=version.licence,
        licence_retrieved=retrieved.date() if retrieved else None,
        doi=version.doi or "",
        source=_public(version.source),
        shards=shards,
        mirrors=mirrors,
    )


def _artifacts(
    session: Session, version: tables.Version, positions: Mapping[str, int]
) -> tuple[Artifact, ...]:
    found = [
        Artifact(path, size, sha256, md5 or "", media or "", role, positions.get(shard), offset)
        for path, size, sha256, md5, media, role, shard, offset in cataloguing.artifacts(
            session, version.id
        )
    ]
    return tuple(sorted(found, key=lambda one: one.path))


def shards_of(
    settings: CentreSettings,
    version: tables.Version,
    rows: Iterable[tables.Shard],
    artifacts: Iterable[Artifact],
) -> tuple[Shard, ...]:
    """Tell of a version's torrents; the redirector makes a metalink of one that is of one file."""
    sealed = [one for one in rows if one.infohash]
    alone = {one.position for one in sealed if one.files == 1}
    paths = {one.path: one.shard for one in artifacts}
    metalinks = {
        shard: address(settings.centre_url.rstrip("/"), version.dataset_id, version.label, name)
        for path, shard in paths.items()
        if shard in alone and (name := f"{path}{METALINK}") not in paths
    }
    return tuple(_shard(settings, one, metalinks.get(one.position, "")) for one in sealed)


def _shard(settings: CentreSettings, row: tables.Shard, metalink: str) -> Shard:
    infohash = row.infohash or ""
    sealed = Sealed(row.name, row.size, infohash, row.files == 1)
    return Shard(
        position=row.position,
        infohash=infohash,
        name=row.name,
        torrent=f"{settings.centre_url.rstrip('/')}/api/v1/torrents/{infohash}.torrent",
        metalink=metalink,
        magnet=magnet(sealed, trackers=settings.trackers),
    )


def _mirrors(session: Session, version: tables.Version, shards: int) -> tuple[Mirror, ...]:
    """Tell the sites of a version's copies, those that last the longest first."""
    sites: dict[str, tables.Site] = {}
    held: dict[str, list[tuple[int, datetime | None]]] = {}
    for site, position, verified_at in cataloguing.copies(session, version.id):
        sites[site.id] = site
        held.setdefault(site.id, []).append((position, verified_at))
    places = reading.of(session, version.id, sites.values())
    mirrors = [
        _mirror(sites[one], places[one], versioning.folder(version), held[one], shards)
        for one in sorted(places)
    ]
    return tuple(sorted(mirrors, key=lambda one: _STEADY.index(one.kind)))


def _mirror(
    site: tables.Site,
    place: Reading,
    folder: str,
    held: Sequence[tuple[int, datetime | None]],
    shards: int,
) -> Mirror:
    positions = sorted(position for position, _ in held)
    return Mirror(
        site=site.id,
        kind=site.kind,
        root=place.root.rstrip("/"),
        template=place.template(folder),
        verified_at=min((at for _, at in held if at), default=None),
        region=site.region,
        country=site.country,
        shards=() if len(positions) == shards else tuple(positions),
    )


def _public(source: str) -> str:
    """Return what all may know of where a version was imported from; empty if that is nothing."""
    try:
        parts = urlsplit(source)
        host = parts.hostname or ""
    except ValueError:
        return ""
    told = parts.scheme in {"http", "https"} and "@" not in parts.netloc and addresses.public(host)
    return parts._replace(query="", fragment="").geturl() if told else ""
