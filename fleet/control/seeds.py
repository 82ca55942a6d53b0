"""What each site shall seed: the torrents of the shards it holds verified."""

import hashlib
from collections.abc import Sequence

from sqlmodel import Session, col, select

from fleet.control.errors import NotFoundError
from fleet.control.sealing import metainfo
from fleet.messages import DesiredSeeds, Seed, SeedReport
from fleet.planning.states import ReplicaState, VersionState
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Replica, Seeding, Shard, Site, Version
from fleet.torrent.metainfo import Metainfo
from fleet.torrent.shard import save_folder, web_seed


def revision(store: Store, site: str) -> str:
    """Return a name for the list of what ``site`` shall seed; it changes when the list does."""
    with store.read() as session:
        return _revision(_shards(session, site))


def desired(store: Store, site: str) -> DesiredSeeds:
    """Return the torrents that ``site`` shall seed now."""
    with store.read() as session:
        shards = _shards(session, site)
        seeds = tuple(_seed(session, shard) for shard in shards)
    return DesiredSeeds(revision=_revision(shards), seeds=seeds)


def _revision(shards: Sequence[Shard]) -> str:
    names = "\n".join(shard.infohash or "" for shard in shards)
    return hashlib.sha256(names.encode()).hexdigest()[:32]


def _shards(session: Session, site: str) -> Sequence[Shard]:
    return session.exec(
        select(Shard)
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            Replica.site_id == site,
            Replica.state == ReplicaState.AVAILABLE,
            col(Shard.infohash).is_not(None),
            Version.state != VersionState.WITHDRAWN,
        )
        .order_by(col(Shard.id))
    ).all()


def _seed(session: Session, shard: Shard) -> Seed:
    meta = metainfo(session, shard)
    return Seed(
        infohash=meta.infohash,
        shard=shard.id,
        folder=_folder(session, shard, meta),
        name=meta.name,
        size=shard.size,
    )


def torrent_of(
    session: Session, infohash: str
) -> tuple[Metainfo, list[str], list[tuple[str, int]]]:
    """Return the torrent with ``infohash``, its web seeds, and the peers known to seed it.

    Raises:
        NotFoundError: the fleet has no such torrent.
    """
    shard = session.exec(select(Shard).where(Shard.infohash == infohash)).first()
    if shard is None:
        raise NotFoundError(f"no torrent of this fleet has the infohash {infohash}")
    meta = metainfo(session, shard)
    sites = holdings.readable(session, shard.id)
    folder = _folder(session, shard, meta)
    web_seeds = [web_seed(site.read_url, folder, meta) for site in sites]
    peers = session.exec(
        select(Site.peer)
        .join(Replica, col(Replica.site_id) == col(Site.id))
        .where(
            Replica.shard_id == shard.id,
            Replica.state == ReplicaState.AVAILABLE,
            Site.peer != "",
        )
    ).all()
    return meta, web_seeds, [_address(peer) for peer in peers]


def report(store: Store, site: str, reports: Sequence[SeedReport]) -> None:
    """Keep what a site's seeder says of its torrents."""
    with store.write() as session:
        now = store.now(session)
        for one in reports:
            session.merge(Seeding(site_id=site, at=now, **one.model_dump()))


def seeding(store: Store) -> set[tuple[str, str]]:
    """Return what is being seeded, by the seeders' own word: pairs of site and infohash."""
    with store.read() as session:
        rows = session.exec(select(Seeding).where(Seeding.state == "seeding")).all()
    return {(row.site_id, row.infohash) for row in rows}


def _address(peer: str) -> tuple[str, int]:
    host, _, port = peer.rpartition(":")
    return host.strip("[]"), int(port)


def _folder(session: Session, shard: Shard, meta: Metainfo) -> str:
    version = session.get_one(Version, shard.version_id)
    first = holdings.artifacts_of(session, shard.id)[0].path
    return save_folder(version.dataset_id, version.label, meta, first)
