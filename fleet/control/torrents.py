"""The torrents and magnet links that anybody may have, with the links that hold now.

Rules this module keeps:

- Peers are sites that hold the shard verified, web seeds those that were seen to serve it.
- Of a version that was withdrawn there is no torrent.
- The same store gives the same bytes.
"""

from collections.abc import Iterable, Sequence

from sqlmodel import Session, col, select

from fleet.control import reading, webseeds
from fleet.control.alias_checks import data_of, move_in
from fleet.control.errors import NotFoundError
from fleet.control.sealing import metainfo
from fleet.control.swarms import address
from fleet.planning.states import AliasState, ReplicaState, VersionState
from fleet.store.tables import Replica, Shard, Site, TorrentAlias, Version
from fleet.torrent.adoption import own_files
from fleet.torrent.metainfo import Metainfo, magnet, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.reissue import in_one, reissue


def torrent_file(session: Session, infohash: str, trackers: Sequence[str] = ()) -> bytes:
    """Return the ``.torrent`` file with ``infohash`` and the web seeds that it has now.

    Raises:
        NotFoundError: the fleet has no such torrent, or one of others that was not verified.
    """
    found = _verified(session, infohash)
    if found is None:
        meta, web_seeds, _peers = torrent_of(session, infohash)
        comment = in_one(_comments(session, _shards(session, infohash)[0]))
        return torrent_bytes(meta, web_seeds=web_seeds, trackers=trackers, comment=comment)
    alias, shard = found
    return reissue(
        data_of(session, alias),
        web_seeds=_web_seeds(session, alias),
        trackers=trackers,
        comments=_comments(session, shard),
    )


def torrent_with(
    session: Session, shard: Shard, sites: Iterable[Site], trackers: Sequence[str]
) -> bytes:
    """Return the ``.torrent`` file of a shard with these sites as its web seeds."""
    meta = metainfo(session, shard)
    return torrent_bytes(
        meta,
        web_seeds=[
            webseeds.address(site, shard.folder, meta)
            for site in sites
            if meta.single or reading.at(site).in_folders
        ],
        trackers=trackers,
        comment=in_one(_comments(session, shard)),
    )


def magnet_link(session: Session, infohash: str, trackers: Sequence[str] = ()) -> str:
    """Return the magnet link of the torrent with ``infohash``, with the peers that seed it.

    Raises:
        NotFoundError: the fleet has no such torrent, or one of others that was not verified.
    """
    found = _verified(session, infohash)
    if found is None:
        meta, web_seeds, peers = torrent_of(session, infohash)
        return magnet(meta, web_seeds=web_seeds, trackers=trackers, peers=peers)
    alias, shard = found
    return magnet(
        parse(data_of(session, alias)),
        web_seeds=_web_seeds(session, alias),
        trackers=trackers,
        peers=_peers(session, shard.infohash or ""),
    )


def _verified(session: Session, infohash: str) -> tuple[TorrentAlias, Shard] | None:
    """Return the verified alias with ``infohash`` and the newest shard of its bytes.

    None if it is a shard's own, or nobody's, or that of bytes that were withdrawn.
    """
    if _shards(session, infohash):
        return None
    alias = session.get(TorrentAlias, infohash)
    if alias is None or alias.state != AliasState.VERIFIED:
        return None
    own = session.get_one(Shard, alias.shard_id).infohash
    shards = _shards(session, own) if own else ()
    return (alias, shards[0]) if shards else None


def _web_seeds(session: Session, alias: TorrentAlias) -> list[str]:
    """List the sites where clients find an alias's files under the names they would ask for."""
    torrent = parse(data_of(session, alias))
    files = own_files(torrent)
    own = session.get_one(Shard, alias.shard_id)
    shards = _shards(session, own.infohash or "")
    found = [
        webseeds.alias_address(site, torrent, files, move_in(alias, shard))
        for shard in shards
        for site in webseeds.sites(session, shard.id)
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
    shards = _shards(session, infohash)
    if not shards:
        raise NotFoundError(f"no torrent of this fleet has the infohash {infohash}")
    meta = metainfo(session, shards[0])
    web_seeds = {
        webseeds.address(site, shard.folder, meta): None
        for shard in shards
        for site in webseeds.sites(session, shard.id)
    }
    return meta, list(web_seeds), _peers(session, infohash)


def _shards(session: Session, infohash: str) -> Sequence[Shard]:
    """Return the shards that have this torrent, the newest first."""
    return session.exec(
        select(Shard)
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(Shard.infohash == infohash, Version.state != VersionState.WITHDRAWN)
        .order_by(col(Shard.id).desc())
    ).all()


def _comments(session: Session, shard: Shard) -> tuple[str, str]:
    """Say in English and in French what a torrent is of, and how its files are proved."""
    version = session.get_one(Version, shard.version_id)
    name = f"{version.dataset_id}, version {version.label}"
    return (
        f"{name}: each file is proved by its SHA-256 in the catalogue",
        f"{name} : chaque fichier est prouvé par son SHA-256 au catalogue",
    )


def _peers(session: Session, infohash: str) -> list[tuple[str, int]]:
    """List the addresses of the sites that hold the shards with this torrent verified."""
    peers = session.exec(
        select(Site.peer)
        .join(Replica, col(Replica.site_id) == col(Site.id))
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            Shard.infohash == infohash,
            Version.state != VersionState.WITHDRAWN,
            Replica.state == ReplicaState.AVAILABLE,
            Site.peer != "",
            col(Site.retired).is_(False),
        )
        .distinct()
    ).all()
    return [address(peer) for peer in peers]
