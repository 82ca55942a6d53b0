"""Announcing work: waiting transfers become attempts, with their wake-ups, in one commit.

A site is told of no more than it has slots for; the rest waits in the store, where it can be
reordered, explained and never lost.
"""

from datetime import datetime, timedelta

from sqlmodel import Session

from fleet.control import facts, sources
from fleet.planning.states import TASKS, TransferKind
from fleet.planning.windows import wait_for
from fleet.store import holdings, transfers
from fleet.store.database import Store
from fleet.store.tables import Site, Transfer

URGENT = 100  # a rule of this priority or more does not wait for quiet hours
_WINDOWED = frozenset({TransferKind.INGEST, TransferKind.COPY})
_AT_ONCE = 50
_LOOK_AGAIN = timedelta(minutes=5)
_LANES = (transfers.BULK_KINDS, (TransferKind.PROBE,))


def step(store: Store) -> bool:
    """Announce what every site has room for; False when nothing was due."""
    with store.read() as session:
        executors = transfers.executors_due(session, store.now(session))
    announced = 0
    for executor in executors:  # each in a unit of its own, so that heartbeats come in between
        with store.write() as session:
            announced += _fill(session, session.get_one(Site, executor), store.now(session))
    return announced > 0


def _fill(session: Session, site: Site, now: datetime) -> int:
    announced = 0
    wait = wait_for(facts.windows(session, site.id), now)
    for lane in _LANES:
        room = site.slots - transfers.taken(session, site.id, lane)
        if room <= 0:
            continue
        for transfer in transfers.due(session, site.id, lane, min(room, _AT_ONCE), now):
            if wait and _may_wait(session, transfer):
                transfer.not_before, transfer.reason = wait.until, f"{site.id} {wait.reason}"
                announced += 1  # it was looked at: the next one may be due in its stead
            elif transfer.kind == TransferKind.COPY and (lacks := _lacking(session, transfer)):
                transfer.not_before, transfer.reason = now + _LOOK_AGAIN, lacks
                announced += 1
            elif transfers.announce(session, transfer, TASKS[transfer.kind], now):
                announced += 1
    return announced


def _may_wait(session: Session, transfer: Transfer) -> bool:
    """Whether bulk traffic may wait for quiet hours: not while it is to be a second good copy."""
    if transfer.kind not in _WINDOWED or transfer.priority >= URGENT:
        return False
    if transfer.kind != TransferKind.COPY or transfer.shard_id is None:
        return True
    shard = transfer.shard_id
    return holdings.good(session, shard) + transfers.copies_taken(session, shard) != 1


def _lacking(session: Session, transfer: Transfer) -> str:
    """Say why a copy would fail for want of anybody to get it from.

    The first attempt is always made: it finds what lies at the site already.
    """
    return sources.lacking(session, transfer) if transfer.attempts else ""
