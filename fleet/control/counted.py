"""What the fleet's seeders count of a version's torrents, as each last said.

All but the bytes sent are floors: a seeder sees only the peers connected to it, two seeders may
see the same one, and seeds do not stay connected to each other.
"""

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_
from sqlmodel import Session, col, select

from fleet.store.tables import Seeding, Shard, TorrentAlias


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


def swarms(session: Session, version: str) -> dict[str, Swarm]:
    """Tell of the swarm of each of a version's torrents and their aliases, by infohash."""
    told: dict[str, list[Seeding]] = defaultdict(list)
    for row in session.exec(select(Seeding).where(_of(version))).all():
        told[row.infohash].append(row)
    return {infohash: _swarm(rows) for infohash, rows in told.items()}


def uploaded(session: Session, version: str) -> dict[str, int]:
    """Sum what each site's seeder sent of a version's torrents and their aliases, by site."""
    rows = session.exec(
        select(Seeding.site_id, func.sum(col(Seeding.uploaded)))
        .where(_of(version))
        .group_by(col(Seeding.site_id))
    ).all()
    return {site: int(total or 0) for site, total in rows}


def _swarm(rows: list[Seeding]) -> Swarm:
    seeders = sum(row.state == "seeding" for row in rows)
    return Swarm(
        seeders=seeders,
        peers=max(row.peers for row in rows),
        complete=max(row.complete for row in rows),
        # each of the fleet's seeders is a copy, whether or not they see each other
        availability=max(seeders, *(row.availability for row in rows)),
        uploaded=sum(row.uploaded for row in rows),
    )


def _of(version: str) -> ColumnElement[bool]:
    """Match what is said of a version's torrents and their aliases."""
    torrents = (
        select(Shard.infohash)
        .where(Shard.version_id == version, col(Shard.infohash).is_not(None))
        .distinct()
    )
    aliases = (
        select(TorrentAlias.infohash)
        .join(Shard, col(Shard.id) == col(TorrentAlias.shard_id))
        .where(Shard.version_id == version)
    )
    return or_(col(Seeding.infohash).in_(torrents), col(Seeding.infohash).in_(aliases))
