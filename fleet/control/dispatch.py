"""Announcing work: waiting transfers become attempts, with their wake-ups, in one commit.

A site is told of no more than it has slots for; the rest waits in the store, where it can be
reordered, explained and never lost.
"""

from datetime import datetime, timedelta

from sqlmodel import Session

from fleet.control import facts, incidents, repairs, sources
from fleet.planning.repair import URGENT
from fleet.planning.states import TASKS, TransferKind
from fleet.planning.windows import wait_for
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Site, Transfer

_WINDOWED = frozenset({TransferKind.INGEST, TransferKind.COPY})
_AT_ONCE = 50
_LOOK_AGAIN = timedelta(minutes=5)
_LANES = (transfers.BULK_KINDS, (TransferKind.PROBE,))
_JUDGED_LANES = ((TransferKind.VERIFY,),)  # a site at fault as a whole only reads what it holds


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
    judged = incidents.of(session, site.id) is not None
    for lane in _JUDGED_LANES if judged else _LANES:
        room = site.slots - transfers.taken(session, site.id, lane)
        if room <= 0:
            continue
        for transfer in transfers.due(session, site.id, lane, min(room, _AT_ONCE), now):
            if wait and transfer.kind in _WINDOWED and transfer.priority < URGENT:
                transfer.not_before, transfer.reason = wait.until, f"{site.id} {wait.reason}"
                announced += 1  # it was looked at: the next one may be due in its stead
            elif transfer.kind == TransferKind.COPY and repairs.spare(session, transfer, now):
                announced += 1
            elif transfer.kind == TransferKind.COPY and (lacks := _lacking(session, transfer)):
                transfer.not_before, transfer.reason = now + _LOOK_AGAIN, lacks
                announced += 1
            elif transfers.announce(session, transfer, TASKS[transfer.kind], now):
                announced += 1
    return announced


def _lacking(session: Session, transfer: Transfer) -> str:
    """Say why a copy would fail for want of anybody to get it from.

    The first attempt is always made: it finds what lies at the site already.
    """
    return sources.lacking(session, transfer) if transfer.attempts else ""
