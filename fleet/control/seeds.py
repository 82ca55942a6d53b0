"""What each site shall seed: the torrents of the shards it holds verified, and their aliases."""

import hashlib
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from fleet.control.alias_checks import move_in
from fleet.messages import DesiredSeeds, Seed, SeedReport
from fleet.planning.states import AliasState, ReplicaState, VersionState
from fleet.store.database import Store
from fleet.store.tables import Replica, Seeding, Shard, TorrentAlias, Version


def revision(store: Store, site: str) -> str:
    """Return a name for the list of what ``site`` shall seed; it changes when the list does."""
    with store.read() as session:
        return _revision(_shards(session, site), _aliases(session, site))


def desired(store: Store, site: str) -> DesiredSeeds:
    """Return the torrents that ``site`` shall seed now."""
    with store.read() as session:
        shards, aliases = _shards(session, site), _aliases(session, site)
    seeds = [
        Seed(
            infohash=infohash,
            shard=shard.id,
            folder=shard.folder,
            name=shard.name,
            size=shard.size,
        )
        for infohash, shard in shards.items()
    ]
    seeds += [
        Seed(
            infohash=infohash,
            shard=shard.id,
            folder=move_in(alias, shard).ours,
            name=alias.name,
            size=alias.size,
            inside=alias.theirs,
        )
        for infohash, (alias, shard) in aliases.items()
        if infohash not in shards
    ]
    return DesiredSeeds(revision=_revision(shards, aliases), seeds=tuple(seeds))


def _revision(
    shards: Mapping[str, Shard], aliases: Mapping[str, tuple[TorrentAlias, Shard]]
) -> str:
    held = [(infohash, shard) for infohash, shard in shards.items()]
    held += [(infohash, shard) for infohash, (_, shard) in aliases.items()]
    names = "\n".join(f"{infohash} {shard.id}" for infohash, shard in held)
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
            Replica.state == ReplicaState.AVAILABLE,
            Version.state != VersionState.WITHDRAWN,
        )
        .order_by(col(Version.created_at), col(Version.id), col(Shard.id))
    ).all()
    return {alias.infohash: (alias, shard) for alias, shard in rows}


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
