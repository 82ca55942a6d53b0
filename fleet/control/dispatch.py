"""Announcing work: waiting transfers become attempts, with their wake-ups, in one commit.

A site is told of no more than it has slots for; the rest waits in the store, where it can be
reordered, explained and never lost.  What waits at a retired site was given to it by a unit of work
that had read it before that, and is taken out.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import executors, incidents, needs, probes, repairs, retirement, sources, windows
from fleet.control.budgets import Books
from fleet.planning.executors import UNMANNED_DRIVERS
from fleet.planning.quiet import Quiet
from fleet.planning.states import TASKS, AttemptState, TransferKind
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Attempt, Site, Transfer

_AT_ONCE = 50
_WOKEN_AT_ONCE = 1000
_LOOK_AGAIN = timedelta(minutes=5)
_SOON = timedelta(seconds=1)
_LANES = (transfers.BULK_KINDS, (TransferKind.PROBE,))
_JUDGED_LANES = ((TransferKind.VERIFY,),)  # a site at fault as a whole only reads what it holds


def step(store: Store, settings: CentreSettings) -> bool:
    """Announce what every site has room for; whether there may be more to announce."""
    woken = _wake(store)
    with store.read() as session:
        able, retired, unmanned = _able(session)
    for site in retired:
        retirement.clear(store, site)
    more = False
    for site in unmanned:
        more |= executors.give_away(store, settings, site)
    for executor, kinds in able.items():  # by itself each, so that heartbeats come in between
        with store.write() as session:
            more |= _fill(session, session.get_one(Site, executor), kinds, store.now(session))
    return more or woken


def _wake(store: Store) -> bool:
    """Let a bounded number of transfers be ready whose time has come; whether there are more."""
    with store.read() as session:
        if not transfers.time_has_come(session, store.now(session)):
            return False
    with store.write() as session:
        return transfers.wake(session, store.now(session), _WOKEN_AT_ONCE) == _WOKEN_AT_ONCE


_SLOTS = select(Site.id, Site.slots, Site.retired, Site.driver).where(
    col(Site.id).in_(bindparam("sites", expanding=True))
)


def _able(session: Session) -> tuple[dict[str, set[str]], list[str], list[str]]:
    """Return the sites that have something to do now: with room for it, retired, or unmanned.

    Those with room come with the kinds of what they have to do.
    """
    able, retired, unmanned = dict[str, set[str]](), list[str](), list[str]()
    ready = transfers.ready(session)
    if not ready:
        return able, retired, unmanned
    taken = transfers.taken(session, ready)
    slots = session.exec(_SLOTS, params={"sites": list(ready)}).all()
    judged = incidents.judged(session)
    for site, most, is_retired, driver in slots:
        lanes = _JUDGED_LANES if site in judged else _LANES
        if is_retired:
            retired.append(site)
        elif driver in UNMANNED_DRIVERS:
            unmanned.append(site)
        elif any(
            ready[site] & set(lane) and sum(taken[site, kind] for kind in lane) < most
            for lane in lanes
        ) or (site in judged and _passes_on(session, site, ready[site])):
            able[site] = ready[site]
    return able, retired, unmanned


def _passes_on(session: Session, site: str, ready: Collection[str]) -> bool:
    """Whether a judged site is to pass on a probe; one of two that wait may be its own."""
    return TransferKind.PROBE in ready and bool(probes.of_others(session, site, 2))


def _fill(session: Session, site: Site, kinds: set[str], now: datetime) -> bool:
    """Announce what a site has room for; whether some of the room was left by work that waits.

    ``kinds`` are those of what it has to do: others need not be asked for.
    """
    more, over = False, list[Transfer]()
    taken = transfers.taken(session, [site.id])
    quiet = windows.of(session, site)
    books = Books(session, now)
    judged = incidents.of(session, site.id) is not None
    if judged:
        more = probes.pass_on(session, site.id, _AT_ONCE, now) > 0
    found = list[Sequence[Transfer]]()  # all of it, before what is announced is to be written
    for lane in _JUDGED_LANES if judged else _LANES:
        room = site.slots - sum(taken[site.id, kind] for kind in lane)
        if room > 0 and not kinds.isdisjoint(lane):
            found.append(transfers.due(session, site.id, lane, min(room, _AT_ONCE)))
    for due in found:
        told = [_turn(session, one, quiet, books, over, now) for one in due]
        more |= not all(told) or len(due) == _AT_ONCE
    if over:
        repairs.spare(session, over, now)
    return more


def _turn(
    session: Session,
    transfer: Transfer,
    quiet: Quiet | None,
    books: Books,
    over: list[Transfer],
    now: datetime,
) -> bool:
    """Announce a transfer, or note what it waits for; whether it was announced.

    A copy that would write over what may be a shard's last is put with those that do.
    """
    if why := executors.may_not(session, transfer):
        executors.take_back(session, transfer)
        transfer.reason = why
        return False
    if not (turn := windows.turn(session, quiet, transfer, now)).goes:
        transfer.not_before = turn.until
        transfer.reason = f"{transfer.executor_id} {turn.reason}"
        return False
    if transfer.kind == TransferKind.COPY:
        if repairs.writes_over(session, transfer):
            over.append(transfer)
            return False
        if lacks := _lacking(session, transfer):
            transfer.not_before, transfer.reason = now + _LOOK_AGAIN, lacks
            return False
    return _announce(session, transfer, books, now)


def _announce(session: Session, transfer: Transfer, books: Books, now: datetime) -> bool:
    """Announce a transfer, or let it wait while all its sources are out of budget."""
    need = needs.of(session, transfer, books)
    if need.wait is not None:
        soonest, latest = now + _SOON, now + _LOOK_AGAIN
        transfer.reason = need.wait.reason
        transfer.not_before = min(max(need.wait.until or latest, soonest), latest)
        return False
    silent = _fell_silent(session, transfer)
    attempt = transfers.announce(session, transfer, TASKS[transfer.kind], now)
    if attempt is not None and not silent:
        books.expect(attempt.id, need.providers)
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
