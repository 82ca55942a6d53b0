"""What each site shall seed: the torrents of the shards it holds verified."""

import hashlib
from collections.abc import Mapping, Sequence

from sqlmodel import Session, col, select

from fleet.control.errors import NotFoundError
from fleet.control.sealing import metainfo
from fleet.messages import DesiredSeeds, Seed, SeedReport
from fleet.planning.states import ReplicaState, VersionState
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Replica, Seeding, Shard, Site, Version
from fleet.torrent.metainfo import Metainfo
from fleet.torrent.shard import web_seed


def revision(store: Store, site: str) -> str:
    """Return a name for the list of what ``site`` shall seed; it changes when the list does."""
    with store.read() as session:
        return _revision(_shards(session, site))


def desired(store: Store, site: str) -> DesiredSeeds:
    """Return the torrents that ``site`` shall seed now."""
    with store.read() as session:
        shards = _shards(session, site)
    seeds = tuple(
        Seed(
            infohash=infohash,
            shard=shard.id,
            folder=shard.folder,
            name=shard.name,
            size=shard.size,
        )
        for infohash, shard in shards.items()
    )
    return DesiredSeeds(revision=_revision(shards), seeds=seeds)


def _revision(shards: Mapping[str, Shard]) -> str:
    names = "\n".join(f"{infohash} {shard.id}" for infohash, shard in shards.items())
    return hashlib.sha256(names.encode()).hexdigest()[:32]


def _shards(session: Session, site: str) -> dict[str, Shard]:
    """Map the torrents that a site holds verified to their shards.

    The same file in several versions is one torrent: it is seeded from the newest's folder.
    """
    rows = session.exec(
        select(Shard)
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            Replica.site_id == site,
            Replica.state == ReplicaState.AVAILABLE,
            col(Shard.infohash).is_not(None),
            Version.state != VersionState.WITHDRAWN,
        )
        .order_by(col(Version.created_at), col(Version.id), col(Shard.id))
    ).all()
    return {shard.infohash: shard for shard in rows if shard.infohash is not None}


def torrent_of(
    session: Session, infohash: str
) -> tuple[Metainfo, list[str], list[tuple[str, int]]]:
    """Return the torrent with ``infohash``, its web seeds, and the peers known to seed it.

    The same file in several versions, or twice in one, is one torrent: all its copies count.

    Raises:
        NotFoundError: the fleet has no such torrent.
    """
    shards = session.exec(
        select(Shard).where(Shard.infohash == infohash).order_by(col(Shard.id).desc())
    ).all()
    if not shards:
        raise NotFoundError(f"no torrent of this fleet has the infohash {infohash}")
    meta = metainfo(session, shards[0])
    web_seeds = {
        web_seed(site.read_url, shard.folder, meta): None
        for shard in shards
        for site in holdings.readable(session, shard.id)
    }
    peers = session.exec(
        select(Site.peer)
        .join(Replica, col(Replica.site_id) == col(Site.id))
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(
            Shard.infohash == infohash,
            Replica.state == ReplicaState.AVAILABLE,
            Site.peer != "",
            col(Site.retired).is_(False),
        )
        .distinct()
    ).all()
    return meta, list(web_seeds), [_address(peer) for peer in peers]


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
