"""Announcing work: waiting transfers become attempts, with their wake-ups, in one commit.

A site is told of no more than it has slots for; the rest waits in the store, where it can be
reordered, explained and never lost.
"""

from datetime import datetime, timedelta

from sqlmodel import Session

from fleet.control import facts, needs, sources
from fleet.control.budgets import Books
from fleet.planning.states import TASKS, AttemptState, TransferKind
from fleet.planning.windows import wait_for
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Attempt, Site, Transfer

URGENT = 100  # a rule of this priority or more does not wait for quiet hours
_WINDOWED = frozenset({TransferKind.INGEST, TransferKind.COPY})
_AT_ONCE = 50
_LOOK_AGAIN = timedelta(minutes=5)
_SOON = timedelta(seconds=1)
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
    books = Books(session, now)
    for lane in _LANES:
        room = site.slots - transfers.taken(session, site.id, lane)
        if room <= 0:
            continue
        for transfer in transfers.due(session, site.id, lane, min(room, _AT_ONCE), now):
            if wait and transfer.kind in _WINDOWED and transfer.priority < URGENT:
                transfer.not_before, transfer.reason = wait.until, f"{site.id} {wait.reason}"
                announced += 1  # it was looked at: the next one may be due in its stead
            elif transfer.kind == TransferKind.COPY and (lacks := _lacking(session, transfer)):
                transfer.not_before, transfer.reason = now + _LOOK_AGAIN, lacks
                announced += 1
            else:
                announced += _announce(session, transfer, books, now)
    return announced


def _announce(session: Session, transfer: Transfer, books: Books, now: datetime) -> bool:
    """Announce a transfer, or let it wait while all its sources are out of budget.

    Either way it was looked at; False if it waited no longer.
    """
    need = needs.of(session, transfer, books)
    if need.wait is not None:
        soonest, latest = now + _SOON, now + _LOOK_AGAIN
        transfer.reason = need.wait.reason
        transfer.not_before = min(max(need.wait.until or latest, soonest), latest)
        return True
    silent = _fell_silent(session, transfer)
    attempt = transfers.announce(session, transfer, TASKS[transfer.kind], now)
    if attempt is not None and not silent:
        books.expect(session, attempt.id, need.providers)
    return attempt is not None


def _fell_silent(session: Session, transfer: Transfer) -> bool:
    """Whether the last attempt's lease ran out: what it held is for others until it is heard of."""
    last = session.get(Attempt, transfer.attempt_id) if transfer.attempt_id else None
    return last is not None and last.state == AttemptState.EXPIRED


def _lacking(session: Session, transfer: Transfer) -> str:
    """Say why a copy would fail for want of anybody to get it from.

    The first attempt is always made: it finds what lies at the site already.
    """
    return sources.lacking(session, transfer) if transfer.attempts else ""
