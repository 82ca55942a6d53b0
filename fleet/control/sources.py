"""Where a site can have a shard's files from; ``ranking`` puts that in order."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlmodel import Session, col, select

from fleet.control import incidents, reading, swarms, webseeds
from fleet.importers import CENTRE
from fleet.messages import Source
from fleet.planning.facts import SwarmFacts
from fleet.planning.reading import Reading
from fleet.planning.sources import nobody, unreachable
from fleet.planning.states import ReplicaState
from fleet.settings import CentreSettings
from fleet.store import contents, holdings
from fleet.store.tables import Artifact, Shard, Site, Transfer
from fleet.torrent.metainfo import magnet


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a sealed shard's own row tells of its torrent, without its pieces' hashes."""

    name: str
    size: int
    infohash: str
    single: bool


@dataclass(frozen=True, slots=True)
class Swarm:
    """A shard's torrent as a source: its magnet link, or why it is none."""

    magnet: str
    facts: SwarmFacts
    left_out: str


def swarm(
    session: Session, settings: CentreSettings, shard: Shard, site: str, *, mending: bool = False
) -> Swarm | None:
    """Return what a sealed shard's torrent is to a site; None while the shard is not sealed.

    For mending a copy it brings the web seeds along: an order to verify names no copy over HTTP.
    """
    if shard.infohash is None:
        return None
    facts, peers = swarms.around(session, shard.infohash, site)
    meta = Sealed(shard.name, shard.size, shard.infohash, shard.files == 1)
    seeds = [
        webseeds.address(one, shard.folder, meta)
        for one in (webseeds.sites(session, shard.id) if mending else ())
        if one.id != site
    ]
    facts = replace(facts, web_seeds=len(seeds))
    link = magnet(
        meta,
        web_seeds=seeds,
        trackers=settings.trackers,
        peers=[swarms.address(peer) for peer in peers],
    )
    return Swarm(link, facts, unreachable(facts))


def copies(session: Session, shard: Shard, site: str) -> Mapping[str, Reading]:
    """Map the other sites where a verified copy is read over HTTP to how they are read.

    A site at fault as a whole is one of them only where no other is; then a copy in doubt is as
    well: whoever fetches it proves every byte, and it may be the last one.
    """
    judged = incidents.judged(session)
    readable = holdings.readable(session, shard.id)
    good = (one for one in readable if one.id not in {site, *judged})
    if found := reading.of(session, shard.version_id, good):
        return found
    last = (*readable, *holdings.readable(session, shard.id, ReplicaState.SUSPECT))
    return reading.of(session, shard.version_id, (one for one in last if one.id != site))


def arrivals(session: Session, shard: Shard, site: str) -> Mapping[str, tuple[str, Reading]]:
    """Map a shard's artifacts, by id, to the other site where each arrived, and how it is read.

    Until a shard is sealed it is nobody's replica, but its artifacts were verified there.
    """
    if shard.infohash is not None:
        return {}
    places = contents.ingest_sites(session, shard.id)
    others = set(places.values()) - {site}
    rows = session.exec(select(Site).where(col(Site.id).in_(others))).all()
    found = reading.of(session, shard.version_id, rows)
    return {one: (there, found[there]) for one, there in places.items() if there in found}


def origins(settings: CentreSettings, artifact: Artifact) -> list[Source]:
    """List where an artifact is had outside the fleet; of a folder's, the centre itself."""
    centre = Source(url=f"{settings.centre_url}/api/v1/worker/origins/{artifact.id}", centre=True)
    return [
        centre if origin.startswith(CENTRE) else Source(url=origin) for origin in artifact.origins
    ]


def lacking(session: Session, transfer: Transfer) -> str:
    """Say why a copy can be had from nobody; empty while somebody may give it."""
    shard = session.get_one(Shard, transfer.shard_id)
    if shard.infohash is None or copies(session, shard, transfer.target_id):
        return ""
    facts, _ = swarms.around(session, shard.infohash, transfer.target_id)
    bare = sum(not one.origins for one in contents.artifacts_of(session, shard.id))
    return nobody(transfer.target_id, bare, facts)
