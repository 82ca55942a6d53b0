"""What the redirector is told of sites and torrents beside its snapshot."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from fleet.control import incidents, providers, reading, windows
from fleet.planning.facts import SourceFacts
from fleet.planning.providers import host_of, named
from fleet.planning.redirect import MirrorFacts
from fleet.planning.windows import Work, turn
from fleet.store.tables import Blob, Provider, Shard, Site, SourceScore
from fleet.torrent.pieces import DIGEST_BYTES

_FEW = 1000
_SITES = select(Site).where(col(Site.retired).is_(False)).order_by(Site.id)
_SCORES = select(
    SourceScore.host, func.avg(SourceScore.bytes_per_second), func.avg(SourceScore.error_share)
).group_by(SourceScore.host)


@dataclass(frozen=True)
class Alone:
    """A torrent of one file: the SHA-1 of each of its pieces, in hex; none of very many."""

    piece_length: int
    pieces: tuple[str, ...] = ()


def mirrors(session: Session, now: datetime) -> Mapping[str, MirrorFacts]:
    """Map the sites that are there to what they are as mirrors.

    How fast one is, is the mean of what the fleet's own sites had from its host: nobody knows how
    it serves those who ask.  What our sites use of a provider's budget is not theirs, so that it
    counts only when it asked to be left alone.
    """
    troubles, scores = incidents.reasons(session), _scores(session)
    rows = {row.name: row for row in session.exec(select(Provider)).all()}
    limits = [providers.facts(row) for row in rows.values()]
    found = {}
    for site in session.exec(_SITES).all():
        host = host_of(site.read_url)
        speed, errors = scores.get(host, (None, 0.0))
        provider = named(host, limits)
        quiet = turn(windows.of(session, site), now, Work())
        source = SourceFacts(
            url=site.read_url,
            site=site.id,
            bytes_per_second=speed,
            error_share=errors,
            incident=troubles.get(site.id, ""),
            spent=_rests(rows[provider.name], now) if provider else "",
            busy="" if quiet.goes else f"{site.id} {quiet.reason}",
            provider=provider.name if provider else "",
            weight=provider.weight if provider else 1.0,
            egress=site.egress_usd_per_gb,
        )
        found[site.id] = MirrorFacts(source, reading.at(site), site.country, site.jurisdiction)
    return found


def _scores(session: Session) -> dict[str, tuple[float | None, float]]:
    """Map hosts to how fast they served, and to the share of errors, as the fleet's sites saw."""
    rows = session.exec(_SCORES).all()
    return {host: (speed or None, errors) for host, speed, errors in rows}


def _rests(row: Provider, now: datetime) -> str:
    strain = providers.strain(row)
    if strain.rests_until is None or strain.rests_until <= now:
        return ""
    return f"{row.name} is left alone for a while: {strain.reason}"


def alone(session: Session, infohash: str) -> Alone | None:
    """Return what a torrent tells of the one file that it is of; None of a torrent of several."""
    shard = session.exec(select(Shard).where(Shard.infohash == infohash)).first()
    if shard is None or shard.files != 1:
        return None
    if shard.size > _FEW * shard.piece_length:
        return Alone(shard.piece_length)
    data = session.get_one(Blob, shard.pieces).data
    starts = range(0, len(data), DIGEST_BYTES)
    hashes = tuple(data[start : start + DIGEST_BYTES].hex() for start in starts)
    return Alone(shard.piece_length, hashes)
