"""Where a site can have a shard's files from, in the order that planning gives them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlsplit

from sqlmodel import Session, col, select

from fleet.control import swarms, webseeds
from fleet.importers import CENTRE
from fleet.messages import Source
from fleet.planning.facts import SourceFacts, SwarmFacts
from fleet.planning.sources import nobody, rank, unreachable
from fleet.settings import CentreSettings
from fleet.store import holdings
from fleet.store.tables import Artifact, Shard, Site, SourceScore, Transfer
from fleet.torrent.metainfo import magnet
from fleet.torrent.shard import web_seed

_TORRENT = "torrent"  # what it is called among the hosts


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
        web_seed(one.read_url, shard.folder, meta)
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


def copies(session: Session, shard: Shard, site: str) -> Mapping[str, str]:
    """Map the other sites where a verified copy is read over HTTP to where their roots are read."""
    found = {one.id: one.read_url for one in holdings.readable(session, shard.id)}
    found.pop(site, None)
    return found


def arrivals(session: Session, shard: Shard, site: str) -> Mapping[str, tuple[str, str]]:
    """Map a shard's artifacts, by id, to the other site where each arrived, and its read URL.

    Until a shard is sealed it is nobody's replica, but its artifacts were verified there.
    """
    if shard.infohash is not None:
        return {}
    places = holdings.ingest_sites(session, shard.id)
    rows = session.exec(
        select(Site).where(col(Site.id).in_(set(places.values())), Site.read_url != "")
    ).all()
    urls = {one.id: one.read_url for one in rows if one.id != site}
    return {one: (there, urls[there]) for one, there in places.items() if there in urls}


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
    bare = sum(not one.origins for one in holdings.artifacts_of(session, shard.id))
    return nobody(transfer.target_id, bare, facts)


def url_at(read_url: str, folder: str, path: str) -> str:
    """Return where an artifact is read at a site."""
    return f"{read_url.rstrip('/')}/{quote(f'{folder}/{path}')}"


class Ranking:
    """Ranks sources for one site by how their hosts served it before."""

    def __init__(self, session: Session, site: str, torrent: Swarm | None = None) -> None:
        """Rank for ``site``, with a torrent beside the sources of each item."""
        rows = session.exec(select(SourceScore).where(SourceScore.observer_id == site)).all()
        self._scores = {row.host: row for row in rows}
        self._torrent = torrent
        self._reasons: dict[str, str] = {}

    def order(self, sources: Iterable[Source]) -> tuple[Source, ...]:
        """Return the sources, and the torrent where it is one, best first."""
        by_url = {source.url: source for source in (*sources, *self._swarm())}
        ranked = rank(self._facts(source) for source in by_url.values())
        for one, reason in ranked:
            self._reasons.setdefault(_TORRENT if one.swarm else _host_of(one.url), reason)
        return tuple(by_url[one.url] for one, _ in ranked)

    @property
    def places(self) -> list[dict[str, str]]:
        """The hosts in the order they came up, and the reasons for their places."""
        ranked = [
            {"host": host, "state": "ranked", "reason": reason}
            for host, reason in self._reasons.items()
        ]
        if self._torrent is None or not self._torrent.left_out:
            return ranked
        reason = self._torrent.left_out
        return [*ranked, {"host": _TORRENT, "state": "left out", "reason": reason}]

    def _swarm(self) -> Sequence[Source]:
        if self._torrent is None or self._torrent.left_out:
            return ()
        return (Source(kind="torrent", url=self._torrent.magnet),)

    def _facts(self, source: Source) -> SourceFacts:
        if self._torrent is not None and source.kind == "torrent":
            return SourceFacts(source.url, source.site, swarm=self._torrent.facts)
        score = self._scores.get(_host_of(source.url))
        if score is None:
            return SourceFacts(source.url, source.site)
        return SourceFacts(source.url, source.site, score.bytes_per_second, score.error_share)


def _host_of(url: str) -> str:
    """Return the part of a URL that a source's record is kept under."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = f":{parts.port}" if parts.port not in (None, usual) else ""
    return f"{parts.hostname or ''}{port}"
