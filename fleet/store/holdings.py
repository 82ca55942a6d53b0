"""Named queries over the copies of shards that sites hold."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import BindParameter, bindparam, func
from sqlmodel import Session, col, select

from fleet.planning.states import ReplicaState, TransferState
from fleet.store import faults
from fleet.store.tables import Replica, Site, Transfer

TROUBLED = (ReplicaState.SUSPECT, ReplicaState.BAD, ReplicaState.MISSING)
SEEDED = (ReplicaState.AVAILABLE, ReplicaState.SUSPECT)  # BitTorrent proves each piece

_OF_SHARD: BindParameter[str] = bindparam("shard")
_REPLICA = select(Replica).where(
    Replica.shard_id == _OF_SHARD, Replica.site_id == bindparam("site")
)


@contextmanager
def unwritten(session: Session) -> Iterator[None]:
    """Ask for copies by shard and site without what was changed being written before.

    A copy's shard and site never change: of what waits to be written only new copies matter.
    """
    if any(isinstance(one, Replica) for one in session.new):
        session.flush()
    with session.no_autoflush:
        yield


def replica(session: Session, shard: str, site: str) -> Replica | None:
    """Return what is believed of a shard at a site."""
    with unwritten(session):
        return session.exec(_REPLICA, params={"shard": shard, "site": site}).one_or_none()


def replicas(session: Session, shard: str) -> Sequence[Replica]:
    """Return what is believed of a shard at every site."""
    return session.exec(select(Replica).where(Replica.shard_id == shard)).all()


_GOOD = (
    select(func.count())
    .select_from(Replica)
    .where(Replica.shard_id == _OF_SHARD, Replica.state == ReplicaState.AVAILABLE)
)


def good(session: Session, shard: str) -> int:
    """Count the copies of a shard that are verified and not in doubt."""
    return session.exec(_GOOD, params={"shard": shard}).one()


def at_site(session: Session, site: str) -> Sequence[Replica]:
    """Return all that a site holds or is to hold."""
    return session.exec(
        select(Replica).where(Replica.site_id == site, Replica.state != ReplicaState.RETIRED)
    ).all()


_READABLE = (
    select(Site)
    .join(Replica, col(Replica.site_id) == col(Site.id))
    .where(
        Replica.shard_id == _OF_SHARD,
        Replica.state == bindparam("state"),
        Site.read_url != "",
        col(Site.retired).is_(False),
    )
)


def readable(
    session: Session, shard: str, state: ReplicaState = ReplicaState.AVAILABLE
) -> Sequence[Site]:
    """Return the sites that hold a copy of a shard, a verified one, and can be read from."""
    return session.exec(_READABLE, params={"shard": shard, "state": state}).all()


def site_lines(session: Session, sites: Iterable[str]) -> list[dict[str, Any]]:
    """Count each site's replicas by what matters on a screen, and the transfers to it.

    What does not count because its site is at fault as a whole is bad.
    """
    state, number = col(Replica.state), func.count()
    copies = {
        site: (available, copying, held - available)
        for site, available, copying, held in session.exec(
            select(
                Replica.site_id,
                number.filter(faults.counts()),
                number.filter(state == ReplicaState.COPYING),
                number.filter(state.in_((ReplicaState.AVAILABLE, *TROUBLED))),
            ).group_by(col(Replica.site_id))
        ).all()
    }
    running = dict(
        session.exec(
            select(Transfer.target_id, func.count())
            .where(Transfer.state == TransferState.RUNNING)
            .group_by(col(Transfer.target_id))
        ).all()
    )
    lines = []
    for site in sites:
        available, copying, bad = copies.get(site, (0, 0, 0))
        lines.append(
            {
                "site": site,
                "available": available,
                "copying": copying,
                "bad": bad,
                "transfers": running.get(site, 0),
            }
        )
    return lines
