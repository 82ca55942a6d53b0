"""What each site shall seed: the torrents of the shards it holds verified, and their aliases."""

import hashlib
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from fleet.control import uploads
from fleet.control.alias_checks import data_of, move_of
from fleet.control.errors import NotFoundError
from fleet.control.sealing import metainfo
from fleet.messages import DesiredSeeds, Seed, SeedReport, UploadCaps
from fleet.planning.states import AliasState, ReplicaState, VersionState
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Replica, Seeding, Shard, Site, TorrentAlias, Version
from fleet.torrent.adoption import Move, own_files, web_seed_url
from fleet.torrent.metainfo import Metainfo, magnet, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.reissue import reissue
from fleet.torrent.shard import web_seed


def revision(store: Store, site: str) -> str:
    """Return a name for the list of what ``site`` shall seed; it changes when the list does."""
    with store.read() as session:
        caps = uploads.caps(session, site)
        return _revision(_shards(session, site), _aliases(session, site), caps)


def desired(store: Store, site: str) -> DesiredSeeds:
    """Return the torrents that ``site`` shall seed now."""
    with store.read() as session:
        shards, aliases = _shards(session, site), _aliases(session, site)
        caps = uploads.caps(session, site)
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
            folder=_move(alias, shard).ours,
            name=alias.name,
            size=alias.size,
            inside=alias.theirs,
        )
        for infohash, (alias, shard) in aliases.items()
        if infohash not in shards
    ]
    revision = _revision(shards, aliases, caps)
    return DesiredSeeds(revision=revision, uploads=caps, seeds=tuple(seeds))


def _revision(
    shards: Mapping[str, Shard],
    aliases: Mapping[str, tuple[TorrentAlias, Shard]],
    caps: UploadCaps,
) -> str:
    held = [(infohash, shard) for infohash, shard in shards.items()]
    held += [(infohash, shard) for infohash, (_, shard) in aliases.items()]
    names = "\n".join(f"{infohash} {shard.id}" for infohash, shard in held)
    return hashlib.sha256(f"{caps.model_dump_json()}\n{names}".encode()).hexdigest()[:32]


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


def _move(alias: TorrentAlias, shard: Shard) -> Move:
    """Say where an alias's files lie in a shard that has the torrent of the alias's own.

    Only a lone file has the same torrent in several versions: a bundle's names its version.
    """
    if shard.files == 1:
        return Move(alias.theirs, f"{shard.folder}/{shard.name}")
    return move_of(alias)


def torrent_file(session: Session, infohash: str, trackers: Sequence[str] = ()) -> bytes:
    """Return the ``.torrent`` file with ``infohash`` and the web seeds that it has now.

    Raises:
        NotFoundError: the fleet has no such torrent, or one of others that was not verified.
    """
    alias = _verified(session, infohash)
    if alias is None:
        meta, web_seeds, _peers = torrent_of(session, infohash)
        return torrent_bytes(meta, web_seeds=web_seeds, trackers=trackers)
    web_seeds = _web_seeds(session, alias)
    return reissue(data_of(session, alias), web_seeds=web_seeds, trackers=trackers)


def magnet_link(session: Session, infohash: str, trackers: Sequence[str] = ()) -> str:
    """Return the magnet link of the torrent with ``infohash``, with the peers that seed it.

    Raises:
        NotFoundError: the fleet has no such torrent, or one of others that was not verified.
    """
    alias = _verified(session, infohash)
    if alias is None:
        meta, web_seeds, peers = torrent_of(session, infohash)
        return magnet(meta, web_seeds=web_seeds, trackers=trackers, peers=peers)
    shard = session.get_one(Shard, alias.shard_id)
    return magnet(
        parse(data_of(session, alias)),
        web_seeds=_web_seeds(session, alias),
        trackers=trackers,
        peers=_peers(session, shard.infohash or ""),
    )


def _verified(session: Session, infohash: str) -> TorrentAlias | None:
    """Return the verified alias with ``infohash``; None if it is a shard's own, or nobody's."""
    if session.exec(select(Shard.id).where(Shard.infohash == infohash)).first() is not None:
        return None
    alias = session.get(TorrentAlias, infohash)
    return alias if alias is not None and alias.state == AliasState.VERIFIED else None


def _web_seeds(session: Session, alias: TorrentAlias) -> list[str]:
    """List the sites where clients find an alias's files under the names they would ask for."""
    torrent = parse(data_of(session, alias))
    files = own_files(torrent)
    own = session.get_one(Shard, alias.shard_id)
    shards = session.exec(
        select(Shard).where(Shard.infohash == own.infohash).order_by(col(Shard.id).desc())
    ).all()
    found = [
        web_seed_url(site.read_url, torrent, files, _move(alias, shard))
        for shard in shards
        for site in holdings.readable(session, shard.id)
    ]
    return list(dict.fromkeys(url for url in found if url is not None))


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
    return meta, list(web_seeds), _peers(session, infohash)


def _peers(session: Session, infohash: str) -> list[tuple[str, int]]:
    """List the addresses of the sites that hold the shards with this torrent verified."""
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
    return [_address(peer) for peer in peers]


def report(store: Store, site: str, reports: Sequence[SeedReport]) -> None:
    """Keep what a site's seeder says of its torrents.

    Its counters begin anew with each run, so what they grew by is added to what was known.  One
    that fell has begun anew; what it counted before its fall and told nobody is lost, so that the
    sum is a floor.  Of a torrent that is not named any more, only the sum stays.
    """
    with store.write() as session:
        now = store.now(session)
        rows = session.exec(select(Seeding).where(Seeding.site_id == site)).all()
        known = {row.infohash: (row.uploaded, row.counted) for row in rows}
        for one in reports:
            total, counted = known.get(one.infohash, (0, 0))
            total += one.uploaded - (counted if counted <= one.uploaded else 0)
            known[one.infohash] = (total, one.uploaded)
            told = one.model_dump() | {"uploaded": total, "counted": one.uploaded}
            session.merge(Seeding(site_id=site, at=now, **told))
        named = {one.infohash for one in reports}
        for row in rows:
            if row.infohash not in named and (row.state or row.counted):
                row.peers, row.complete, row.availability, row.counted = 0, 0, 0, 0
                row.state, row.error, row.at = "", "", now


def seeding(store: Store) -> set[tuple[str, str]]:
    """Return what is being seeded, by the seeders' own word: pairs of site and infohash."""
    with store.read() as session:
        rows = session.exec(select(Seeding).where(Seeding.state == "seeding")).all()
    return {(row.site_id, row.infohash) for row in rows}


def _address(peer: str) -> tuple[str, int]:
    host, _, port = peer.rpartition(":")
    return host.strip("[]"), int(port)
