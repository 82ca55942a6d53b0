"""What the fleet's seeders count of a version's torrents, as each last said.

Rules this module keeps:

- All but the bytes sent are floors: a seeder sees only the peers connected to it, two seeders may
  see the same one, and seeds do not stay connected to each other.
- They are told by sites that are there, hold the torrent and said so within a quarter of an hour;
  the bytes that any site sent stay.
- Thousands of torrents are summed by the database.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CompoundSelect, Double, Select, and_, case, cast, func, select, union
from sqlmodel import Session, col

from fleet.store.holdings import SEEDED
from fleet.store.tables import Replica, Seeding, Shard, Site, TorrentAlias

_FRESH = timedelta(minutes=15)
# not as integers, whose sum overflows if sites claim the most that one can hold
_BYTES = func.sum(cast(col(Seeding.uploaded), Double))


@dataclass(frozen=True)
class Swarm:
    """One torrent's swarm, at least.

    Attributes:
        seeders: sites of the fleet that seed it.
        peers: most peers connected to one of them.
        complete: most of these that have all of it.
        availability: complete copies, the fleet's own included.
        uploaded: payload bytes that the fleet's seeders sent of it since they first did.
    """

    seeders: int = 0
    peers: int = 0
    complete: int = 0
    availability: int = 0
    uploaded: int = 0


def swarms(session: Session, version: str, now: datetime) -> dict[str, Swarm]:
    """Tell of the swarm of each of a version's torrents and their aliases, by infohash."""
    torrents = _torrents(version).subquery()
    held = (  # in whichever version: the same file in several is one torrent
        select(torrents.c.infohash, col(Replica.site_id))
        .join(Shard, col(Shard.infohash) == torrents.c.own)
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .where(col(Replica.state).in_(SEEDED))
        .distinct()
        .subquery()
    )
    here = and_(held.c.infohash == Seeding.infohash, held.c.site_id == Seeding.site_id)
    present = and_(col(Site.id) == Seeding.site_id, col(Site.retired).is_(False))
    fresh = col(Seeding.at) > now - _FRESH
    live = and_(held.c.site_id.is_not(None), col(Site.id).is_not(None), fresh)
    figures = (col(Seeding.peers), col(Seeding.complete), col(Seeding.availability))
    rows = session.connection().execute(
        select(
            col(Seeding.infohash),
            func.sum(case((and_(live, col(Seeding.state) == "seeding"), 1), else_=0)),
            *(func.max(case((live, one), else_=0)) for one in figures),
            _BYTES,
        )
        .outerjoin(held, here)
        .outerjoin(Site, present)
        .where(col(Seeding.infohash).in_(select(torrents.c.infohash)))
        .group_by(col(Seeding.infohash))
    )
    return {
        # each of the fleet's seeders is a copy, whether or not they see each other
        infohash: Swarm(seeders, peers, complete, max(seeders, copies), int(sent))
        for infohash, seeders, peers, complete, copies, sent in rows
    }


def uploaded(session: Session, version: str) -> dict[str, int]:
    """Sum what each site's seeder sent of a version's torrents and their aliases, by site."""
    torrents = _torrents(version).subquery()
    rows = session.connection().execute(
        select(col(Seeding.site_id), _BYTES)
        .where(col(Seeding.infohash).in_(select(torrents.c.infohash)))
        .group_by(col(Seeding.site_id))
    )
    return {site: int(sent) for site, sent in rows}


def _torrents(version: str) -> CompoundSelect[Any, Any]:
    """Select a version's torrents and their aliases, each with the shard's own torrent."""
    shards: Select[Any, Any] = select(
        col(Shard.infohash).label("infohash"), col(Shard.infohash).label("own")
    ).where(col(Shard.version_id) == version, col(Shard.infohash).is_not(None))
    aliases: Select[Any, Any] = (
        select(col(TorrentAlias.infohash), col(Shard.infohash))
        .join(Shard, col(Shard.id) == col(TorrentAlias.shard_id))
        .where(col(Shard.version_id) == version)
    )
    return union(shards, aliases)
