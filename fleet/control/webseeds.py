"""Web seeds: which sites the torrents of a shard name, and what `fleet why` says of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import incidents, reading
from fleet.planning.facts import WebSeedFacts
from fleet.planning.states import ReplicaState
from fleet.planning.webseeds import unlisted
from fleet.store.tables import Replica, Shard, Site
from fleet.torrent.adoption import Move, OwnFile, web_seed_url
from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.shard import Named, web_seed


@dataclass(frozen=True)
class Listing:
    """Whether a copy is named as a web seed, and why, or why not."""

    listed: bool
    reason: str


_COPIES = (
    select(Replica, Site)
    .join(Site, col(Site.id) == col(Replica.site_id))
    .where(
        Replica.shard_id == bindparam("shard"),
        Replica.state == ReplicaState.AVAILABLE,
        col(Site.retired).is_(False),
    )
    .order_by(col(Site.id))
)


def sites(session: Session, shard: str) -> Sequence[Site]:
    """Return the sites that are web seeds of a shard, by id."""
    faults, single = incidents.reasons(session), _single(session, shard)
    rows = session.exec(_COPIES, params={"shard": shard}).all()
    return [site for copy, site in rows if not unlisted(_facts(copy, site, faults, single))]


def address(site: Site, folder: str, meta: Named) -> str:
    """Name the web seed that a site is for a shard's own torrent, which lies in ``folder``."""
    if meta.single:
        return reading.at(site).url(folder, meta.name)
    return web_seed(site.read_url, folder, meta)


def alias_address(
    site: Site, torrent: ParsedTorrent, files: Sequence[OwnFile], move: Move
) -> str | None:
    """Name the web seed that a site is for a torrent of others; None where it can be none."""
    at = reading.at(site)
    if at.in_folders:
        return web_seed_url(site.read_url, torrent, files, move)
    dataset, version, path = move.ours.split("/", 2)
    return at.url(f"{dataset}/{version}", path) if torrent.single else None


def listing(session: Session, replica: Replica) -> Listing:
    """Say whether a copy is named as a web seed."""
    site = session.get_one(Site, replica.site_id)
    single = _single(session, replica.shard_id)
    if reason := unlisted(_facts(replica, site, incidents.reasons(session), single)):
        return Listing(listed=False, reason=reason)
    when = f"{replica.proved_at:%Y-%m-%d %H:%M:%S} UTC"
    return Listing(
        listed=True, reason=f"{replica.proved_by} read a whole piece of it by a range {when}"
    )


def _single(session: Session, shard: str) -> bool:
    return session.get_one(Shard, shard).files == 1


def _facts(replica: Replica, site: Site, faults: Mapping[str, str], single: bool) -> WebSeedFacts:
    return WebSeedFacts(
        state=ReplicaState(replica.state),
        readable=site.read_url != "",
        proved=replica.proved_at is not None,
        incident=faults.get(site.id, ""),
        driver=site.driver,
        single=single,
    )
