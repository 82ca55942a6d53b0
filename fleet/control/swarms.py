"""Swarms: the sites of the fleet that take part in a torrent, and where they can be dialled.

Rules this module keeps:

- A site takes part while it holds the shard, in doubt or not: each piece is proved, and repair
  needs the good ones of a copy with a bad one.  A copy known to be bad or missing takes no part.
- A site with an address takes part from the moment that a copy to it is due, so that two sites
  that cannot be dialled meet there.
"""

from dataclasses import dataclass
from functools import cache

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, func, or_, select, union
from sqlmodel import Session, col

from fleet.planning.facts import SwarmFacts
from fleet.planning.states import TransferKind
from fleet.store.holdings import SEEDED
from fleet.store.tables import Replica, Shard, Site, Transfer
from fleet.store.transfers import LIVE

_SEEDERS = ("node", "volunteer")


_Value = str | BindParameter[str]


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A site that takes part in a torrent; ``peer`` is its host:port, empty where it has none."""

    site: str
    peer: str
    holds: bool


def members(session: Session, infohash: str, but: str) -> list[Member]:
    """List who takes part in a torrent, but for one site; sorted."""
    fetching, holding = _of_one()
    asked = {"infohash": infohash, "but": but}
    both = {row.id: (row.peer, False) for row in session.execute(fetching, asked)}
    both |= {row.id: (row.peer, True) for row in session.execute(holding, asked)}
    return sorted(Member(site, peer, holds) for site, (peer, holds) in both.items())


def peers_for(session: Session, site: str) -> dict[str, tuple[str, ...]]:
    """Map the torrents of all that a site holds to the addresses of the others in each."""
    held = (
        select(col(Shard.infohash))
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .where(col(Replica.site_id) == site, col(Replica.state).in_(SEEDED))
        .where(col(Shard.infohash).is_not(None))
    )
    among = col(Shard.infohash).in_(held)
    dialled = _holding(among, site).where(col(Site.peer) != "")
    both = union(dialled, _fetching(among, site)).subquery()
    # the database puts them together: a site asks every few seconds, and holds thousands
    rows = session.execute(
        select(both.c.infohash, func.aggregate_strings(both.c.peer, " ")).group_by(both.c.infohash)
    ).all()
    return {infohash: tuple(sorted(set(peers.split()))) for infohash, peers in rows}


@cache
def _of_one() -> tuple[Select[str | None, str, str], ...]:
    """Make the statements about who fetches and who holds one torrent: each order asks twice."""
    among: ColumnElement[bool] = col(Shard.infohash) == bindparam("infohash")
    but: BindParameter[str] = bindparam("but")
    return _fetching(among, but), _holding(among, but)


def _holding(among: ColumnElement[bool], but: _Value) -> Select[str | None, str, str]:
    """Select torrent, site and address of whoever holds one of the shards ``among``."""
    return (
        select(col(Shard.infohash), col(Site.id), col(Site.peer))
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .join(Site, col(Site.id) == col(Replica.site_id))
        .where(among, *_others(but), col(Replica.state).in_(SEEDED))
        .distinct()
    )


def _fetching(among: ColumnElement[bool], but: _Value) -> Select[str | None, str, str]:
    """Select torrent, site and address of whoever is to fetch one of them and can be dialled."""
    return (
        select(col(Shard.infohash), col(Site.id), col(Site.peer))
        .join(Transfer, col(Transfer.shard_id) == col(Shard.id))
        .join(Site, col(Site.id) == col(Transfer.target_id))
        .where(
            among,
            *_others(but),
            col(Site.peer) != "",
            col(Transfer.kind) == TransferKind.COPY,
            col(Transfer.state).in_(LIVE),
        )
        .distinct()
    )


def _others(but: _Value) -> tuple[ColumnElement[bool], ...]:
    can = or_(col(Site.kind).in_(_SEEDERS), col(Site.peer) != "")
    return (col(Site.id) != but, col(Site.retired).is_(False), can)


def around(session: Session, infohash: str, site: str) -> tuple[SwarmFacts, list[str]]:
    """Tell who takes part in a torrent besides a site, and the addresses that it can dial."""
    found = members(session, infohash, site)
    peers = [one.peer for one in found if one.peer]
    holders = sum(one.holds for one in found)
    facts = SwarmFacts(
        holders=holders,
        fetchers=len(found) - holders,
        dialled=len(peers),
        dials_back=session.get_one(Site, site).peer != "",
    )
    return facts, peers


def address(peer: str) -> tuple[str, int]:
    """Take a site's ``peer`` apart: an IPv6 address has brackets around it there."""
    host, _, port = peer.rpartition(":")
    return host.strip("[]"), int(port)
