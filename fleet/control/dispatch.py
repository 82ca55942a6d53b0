"""Announcing work: waiting transfers become attempts, with their wake-ups, in one commit.

A site is told of no more than it has slots for; the rest waits in the store, where it can be
reordered, explained and never lost.
"""

from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.control import incidents, needs, probes, repairs, sources, windows
from fleet.control.budgets import Books
from fleet.planning.states import TASKS, AttemptState, TransferKind
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Attempt, Site, Transfer

_AT_ONCE = 50
_WOKEN_AT_ONCE = 1000
_LOOK_AGAIN = timedelta(minutes=5)
_SOON = timedelta(seconds=1)
_LANES = (transfers.BULK_KINDS, (TransferKind.PROBE,))
_JUDGED_LANES = ((TransferKind.VERIFY,),)  # a site at fault as a whole only reads what it holds


def step(store: Store) -> bool:
    """Announce what every site has room for; False when nothing was due."""
    woken = _wake(store)
    with store.read() as session:
        able = _able(session)
    announced = 0
    for executor in able:  # each in a unit of its own, so that heartbeats come in between
        with store.write() as session:
            announced += _fill(session, session.get_one(Site, executor), store.now(session))
    return announced > 0 or woken


def _wake(store: Store) -> bool:
    """Let a bounded number of transfers be ready whose time has come; False if there are none."""
    with store.read() as session:
        if not transfers.time_has_come(session, store.now(session)):
            return False
    with store.write() as session:
        return transfers.wake(session, store.now(session), _WOKEN_AT_ONCE) > 0


def _able(session: Session) -> list[str]:
    """Return the sites that have something to do now and room for it."""
    ready = transfers.ready(session)
    taken = transfers.taken(session, ready)
    slots = session.exec(
        select(Site.id, Site.slots).where(
            col(Site.id).in_(list(ready)), col(Site.retired).is_(False)
        )
    ).all()
    return [
        site
        for site, most in slots
        if any(
            ready[site] & set(lane) and sum(taken[site, kind] for kind in lane) < most
            for lane in _LANES
        )
    ]


def _fill(session: Session, site: Site, now: datetime) -> int:
    announced, over = 0, list[Transfer]()
    taken = transfers.taken(session, [site.id])
    quiet = windows.of(session, site)
    books = Books(session, now)
    judged = incidents.of(session, site.id) is not None
    if judged:
        announced += probes.pass_on(session, site.id, _AT_ONCE, now)
    for lane in _JUDGED_LANES if judged else _LANES:
        room = site.slots - sum(taken[site.id, kind] for kind in lane)
        if room <= 0:
            continue
        for transfer in transfers.due(session, site.id, lane, min(room, _AT_ONCE)):
            if not (turn := windows.turn(session, quiet, transfer, now)).goes:
                transfer.not_before, transfer.reason = turn.until, f"{site.id} {turn.reason}"
                announced += 1  # it was looked at: the next one may be due in its stead
            elif transfer.kind == TransferKind.COPY and repairs.writes_over(session, transfer):
                over.append(transfer)
            elif transfer.kind == TransferKind.COPY and (lacks := _lacking(session, transfer)):
                transfer.not_before, transfer.reason = now + _LOOK_AGAIN, lacks
                announced += 1
            else:
                announced += _announce(session, transfer, books, now)
    if over:
        repairs.spare(session, over, now)
    return announced + len(over)


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
