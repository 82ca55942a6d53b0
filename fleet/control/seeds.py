"""What each site shall seed: the torrents of the shards it holds, and their aliases.

Rules this module keeps:

- A copy in doubt is seeded as well, since BitTorrent proves each piece; a bad one is not.
- What a seeder says of itself only demotes: a torrent whose files do not match, or are not there,
  is doubted once, when it is first said, and read where it lies.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from fleet.control import replicas, uploads
from fleet.control.alias_checks import move_in
from fleet.control.swarms import peers_for
from fleet.messages import DesiredSeeds, Seed, SeedReport, UploadCaps
from fleet.planning.states import AliasState, ReplicaState, VersionState
from fleet.store.database import Store
from fleet.store.holdings import SEEDED
from fleet.store.tables import Replica, Seeding, Shard, TorrentAlias, Version

_AT_FAULT = frozenset({"corrupt", "missing"})
_BYTES_MOST = 2**63 - 1  # what every database can hold
_PEERS_MOST = 1000  # that one seeder is connected to for one torrent
_NEWEST_LAST = (
    col(Replica.state) == ReplicaState.AVAILABLE,
    col(Version.created_at),
    col(Version.id),
    col(Shard.id),
)


@dataclass(frozen=True)
class Listing:
    """What one site shall seed: shards and aliases by infohash, and whom it can dial for each.

    ``caps`` bound what it may upload.
    """

    shards: Mapping[str, Shard]
    aliases: Mapping[str, tuple[TorrentAlias, Shard]]
    peers: Mapping[str, tuple[str, ...]]
    caps: UploadCaps

    @cached_property
    def revision(self) -> str:
        """A name for the list, which changes when the list does."""
        held = list(self.shards.items())
        held += [(infohash, shard) for infohash, (_, shard) in self.aliases.items()]
        lines = [self.caps.model_dump_json()]
        lines += [f"{infohash} {shard.id} {self._peers_of(shard)}" for infohash, shard in held]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]

    @property
    def message(self) -> DesiredSeeds:
        """What the site is told."""
        seeds = [
            Seed(
                infohash=infohash,
                shard=shard.id,
                folder=shard.folder,
                name=shard.name,
                size=shard.size,
                peers=self._peers_of(shard),
            )
            for infohash, shard in self.shards.items()
        ]
        seeds += [
            Seed(
                infohash=infohash,
                shard=shard.id,
                folder=move_in(alias, shard).ours,
                name=alias.name,
                size=alias.size,
                inside=alias.theirs,
                peers=self._peers_of(shard),
            )
            for infohash, (alias, shard) in self.aliases.items()
            if infohash not in self.shards
        ]
        return DesiredSeeds(revision=self.revision, uploads=self.caps, seeds=tuple(seeds))

    def _peers_of(self, shard: Shard) -> tuple[str, ...]:
        return self.peers.get(shard.infohash or "", ())


def listing(store: Store, site: str) -> Listing:
    """Find the torrents that ``site`` shall seed now."""
    with store.read() as session:
        return Listing(
            _shards(session, site),
            _aliases(session, site),
            peers_for(session, site),
            uploads.caps(session, site),
        )


def desired(store: Store, site: str) -> DesiredSeeds:
    """Return the torrents that ``site`` shall seed now, as the site is told of them."""
    return listing(store, site).message


def _shards(session: Session, site: str) -> dict[str, Shard]:
    """Map the torrents that a site holds to their shards.

    The same file in several versions is one torrent: it is seeded from the newest's folder, and
    from that of a copy in doubt only where no other is there.
    """
    rows = session.exec(
        select(Shard)
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            Replica.site_id == site,
            col(Replica.state).in_(SEEDED),
            col(Shard.infohash).is_not(None),
            Version.state != VersionState.WITHDRAWN,
        )
        .order_by(*_NEWEST_LAST)
    ).all()
    return {shard.infohash: shard for shard in rows if shard.infohash is not None}


def _aliases(session: Session, site: str) -> dict[str, tuple[TorrentAlias, Shard]]:
    """Map the verified aliases of the shards that a site holds to the shard it holds.

    That is the alias's own, or one of another version with the same torrent.
    """
    own = aliased(Shard)
    rows = session.exec(
        select(TorrentAlias, Shard)
        .join(own, col(own.id) == col(TorrentAlias.shard_id))
        .join(Shard, col(Shard.infohash) == col(own.infohash))
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            TorrentAlias.state == AliasState.VERIFIED,
            Replica.site_id == site,
            col(Replica.state).in_(SEEDED),
            Version.state != VersionState.WITHDRAWN,
        )
        .order_by(*_NEWEST_LAST)
    ).all()
    return {alias.infohash: (alias, shard) for alias, shard in rows}


def report(store: Store, site: str, reports: Sequence[SeedReport]) -> None:
    """Keep what a site's seeder says of its torrents, and doubt what it says is at fault.

    Its counters begin anew with each run, so what they grew by is added to what was known.  One
    that fell has begun anew; what it counted before its fall and told nobody is lost, so that the
    sum is a floor.  Of a torrent that is not named any more, only the sum stays.  What is said of
    one that the site was never to have is left out.
    """
    with store.write() as session:
        now = store.now(session)
        rows = session.exec(select(Seeding).where(Seeding.site_id == site)).all()
        known = {row.infohash: row for row in rows}
        had = _had(session, site)
        reports = [one for one in reports if one.infohash in had]
        doubts: dict[str, str] = {}
        for one in reports:
            before = known.get(one.infohash)
            if one.state in _AT_FAULT and (before is None or before.state != one.state):
                reason = f"the seeder at {site} says: {one.error or one.state}"
                doubts |= dict.fromkeys(_seeded_as(session, site, one.infohash), reason)
            summed = _summed(one, before)
            if before is None:
                known[one.infohash] = Seeding(site_id=site, at=now, **summed)
                session.add(known[one.infohash])
                continue
            for name, value in summed.items():
                setattr(before, name, value)
            before.at = now
        named = {one.infohash for one in reports}
        for row in known.values():
            if row.infohash not in named and (row.state or row.counted):
                row.peers, row.complete, row.availability, row.counted = 0, 0, 0, 0
                row.state, row.error, row.at = "", "", now
        for shard in sorted(doubts):  # the order in which the scheduler locks them, too
            replicas.doubt(session, shard, site, doubts[shard], now)


def _summed(one: SeedReport, before: Seeding | None) -> dict[str, Any]:
    """Give what is kept of a report: bytes sent in all, and in this run.

    What cannot be is cut: nobody sees more complete peers than it has, or more copies than these
    and its own.
    """
    total, counted = (before.uploaded, before.counted) if before else (0, 0)
    total += one.uploaded - (counted if counted <= one.uploaded else 0)
    peers = min(one.peers, _PEERS_MOST)
    return one.model_dump() | {
        "peers": peers,
        "complete": min(one.complete, peers),
        "availability": min(one.availability, peers + 1),
        "uploaded": min(total, _BYTES_MOST),
        "counted": one.uploaded,
    }


def _had(session: Session, site: str) -> set[str | None]:
    """Return the torrents, and their aliases, of the shards that a site has or had."""
    own = select(Shard.infohash).join(Replica, col(Replica.shard_id) == col(Shard.id))
    own = own.where(Replica.site_id == site)
    aliases = (
        select(TorrentAlias.infohash)
        .join(Shard, col(Shard.id) == col(TorrentAlias.shard_id))
        .where(col(Shard.infohash).in_(own))
    )
    return {*session.exec(own).all(), *session.exec(aliases).all()}


def _seeded_as(session: Session, site: str, infohash: str) -> Sequence[str]:
    """Return the shards that a site has whose torrent, or an alias of it, is ``infohash``."""
    own = {infohash}
    alias = session.get(TorrentAlias, infohash)
    if alias is not None:
        own.add(session.get_one(Shard, alias.shard_id).infohash or "")
    return session.exec(
        select(Shard.id)
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .where(col(Shard.infohash).in_(own), Replica.site_id == site)
        .order_by(col(Shard.id))
    ).all()


def seeding(store: Store) -> set[tuple[str, str]]:
    """Return what is being seeded, by the seeders' own word: pairs of site and infohash."""
    with store.read() as session:
        rows = session.exec(select(Seeding).where(Seeding.state == "seeding")).all()
    return {(row.site_id, row.infohash) for row in rows}
