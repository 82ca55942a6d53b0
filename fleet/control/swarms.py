"""Swarms: the sites of the fleet that take part in a torrent, and where they can be dialled.

Rules this module keeps:

- A site takes part while it holds the shard, in doubt or not: each piece is proved, and repair
  needs the good ones of a copy with a bad one.  A copy known to be bad or missing takes no part.
- A site with an address takes part from the moment that a copy to it is due, so that two sites
  that cannot be dialled meet there.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, or_, select

from fleet.planning.facts import SwarmFacts
from fleet.planning.states import TransferKind
from fleet.store.holdings import SEEDED
from fleet.store.tables import Replica, Shard, Site, Transfer
from fleet.store.transfers import LIVE

_SEEDERS = ("node", "volunteer")


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A site that takes part in a torrent; ``peer`` is its host:port, empty where it has none."""

    infohash: str
    site: str
    peer: str
    holds: bool


def members(session: Session, among: ColumnElement[bool], but: str) -> list[Member]:
    """List who takes part in the torrents of the shards ``among``, but for one site; sorted."""
    of_others = (
        among,
        Site.id != but,
        col(Site.retired).is_(False),
        or_(col(Site.kind).in_(_SEEDERS), Site.peer != ""),
    )
    holding = session.exec(
        select(Shard.infohash, Site.id, Site.peer)
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .join(Site, col(Site.id) == col(Replica.site_id))
        .where(*of_others, col(Replica.state).in_(SEEDED))
        .distinct()
    ).all()
    fetching = session.exec(
        select(Shard.infohash, Site.id, Site.peer)
        .join(Transfer, col(Transfer.shard_id) == col(Shard.id))
        .join(Site, col(Site.id) == col(Transfer.target_id))
        .where(
            *of_others,
            Site.peer != "",
            Transfer.kind == TransferKind.COPY,
            col(Transfer.state).in_(LIVE),
        )
        .distinct()
    ).all()
    both = {(infohash, site): (peer, False) for infohash, site, peer in fetching}
    both |= {(infohash, site): (peer, True) for infohash, site, peer in holding}
    return sorted(
        Member(infohash or "", site, peer, holds)
        for (infohash, site), (peer, holds) in both.items()
    )


def peers_for(session: Session, site: str) -> dict[str, tuple[str, ...]]:
    """Map the torrents of all that a site holds to the addresses of the others in each."""
    held = (
        select(Shard.infohash)
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .where(Replica.site_id == site, col(Replica.state).in_(SEEDED))
        .where(col(Shard.infohash).is_not(None))
    )
    found: dict[str, tuple[str, ...]] = {}
    for one in members(session, col(Shard.infohash).in_(held), site):
        if one.peer:
            found[one.infohash] = (*found.get(one.infohash, ()), one.peer)
    return found


def around(session: Session, infohash: str, site: str) -> tuple[SwarmFacts, list[str]]:
    """Tell who takes part in a torrent besides a site, and the addresses that it can dial."""
    found = members(session, col(Shard.infohash) == infohash, site)
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
