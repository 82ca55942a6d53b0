"""Named queries over transfers, attempts and wake-ups.

Every change of state names the state it starts from, in the outermost WHERE of the statement that
changes or locks the row: of any number of processes that try the same change at once, one succeeds
(on PostgreSQL a condition inside a sub-select is not enough).  A transfer's row is always taken
before its attempt's.

Statements are made once: to make one costs as much as to have it answered.  Only those that change
rows of which the session may hold objects are made each time, for it reads in them what becomes of
these.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sql
from sqlalchemy import (
    BindParameter,
    Select,
    bindparam,
    delete,
    func,
    or_,
    union_all,
    update,
)
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fleet.planning.executors import UNMANNED_DRIVERS
from fleet.planning.states import AttemptState, TransferKind, TransferState
from fleet.store.tables import Attempt, Site, Transfer, Wakeup

LIVE = (TransferState.WAITING, TransferState.ANNOUNCED, TransferState.RUNNING)
TAKEN = (TransferState.ANNOUNCED, TransferState.RUNNING)
UNENDED = (*LIVE, TransferState.SUSPENDED)
ENDED = (TransferState.DONE, TransferState.CANCELLED)
BULK_KINDS = (
    *(TransferKind.INGEST, TransferKind.COPY, TransferKind.VERIFY),
    *(TransferKind.DROP, TransferKind.SWITCH, TransferKind.PUBLISH),
)
_EXECUTOR: BindParameter[str] = bindparam("executor")
_LIMIT = bindparam("most", type_=sql.Integer())
_NOW: BindParameter[datetime] = bindparam("now")
_RANK = (
    col(Transfer.priority).desc(),
    col(Transfer.deadline).is_(None),
    col(Transfer.deadline),
    col(Transfer.id),
)


# written into the statement: an index of a part of the rows is used where that part is read out
_WAITING = sql.literal(TransferState.WAITING, literal_execute=True)


def wake(session: Session, now: datetime, limit: int) -> int:
    """Let transfers be ready whose time has come; return how many.

    Ready ones have no time, so that among ever so many that wait the next is found by its rank.
    """
    come = (
        select(Transfer.id)
        .where(col(Transfer.state) == _WAITING, col(Transfer.not_before) <= now)
        .order_by(col(Transfer.not_before))
        .limit(limit)
        .with_for_update(skip_locked=True)  # who holds one decides about it anyway
    )
    woken = session.connection().execute(  # by the connection: no object has to follow
        update(Transfer)
        .where(
            col(Transfer.id).in_(come.scalar_subquery()),
            col(Transfer.state) == TransferState.WAITING,
            col(Transfer.not_before) <= now,
        )
        .values(not_before=None)
    )
    return woken.rowcount


_COME = (
    select(Transfer.id)
    .where(col(Transfer.state) == _WAITING, col(Transfer.not_before) <= _NOW)
    .limit(1)
)


def time_has_come(session: Session, now: datetime) -> bool:
    """Whether a transfer waits whose time has come."""
    return session.exec(_COME, params={"now": now}).first() is not None


_IS_READY = sql.and_(col(Transfer.state) == _WAITING, col(Transfer.not_before).is_(None))


def _best(kind: TransferKind) -> Select[Any]:
    best = (
        select(Transfer.id)
        .where(_IS_READY, Transfer.executor_id == _EXECUTOR, Transfer.kind == kind)
        .order_by(*_RANK)
        .limit(_LIMIT)
        .subquery()
    )
    return sql.select(best)


@cache
def _due(kinds: tuple[TransferKind, ...]) -> SelectOfScalar[Transfer]:
    """Ask for each kind by itself: so it is read in order, and no further."""
    best = union_all(*map(_best, kinds)).subquery()
    among = col(Transfer.id).in_(sql.select(best))
    return select(Transfer).where(among).order_by(*_RANK).limit(_LIMIT)


def due(
    session: Session, executor: str, kinds: tuple[TransferKind, ...], limit: int
) -> Sequence[Transfer]:
    """Return the transfers that ``executor`` should do next, of those that are ready."""
    return session.exec(_due(kinds), params={"executor": executor, "most": limit}).all()


def _ready(kind: TransferKind) -> Select[str, str]:
    # asked for in the order of the queue's index, so that PostgreSQL looks one up at each site:
    # before its statistics tell of what waits, it would read all of that
    one = (
        select(Transfer.id)
        .where(_IS_READY, col(Transfer.executor_id) == col(Site.id), col(Transfer.kind) == kind)
        .order_by(col(Transfer.not_before))
        .limit(1)
        .scalar_subquery()
    )
    return sql.select(col(Site.id), sql.literal(str(kind))).where(one.is_not(None))


_READY = union_all(*map(_ready, TransferKind))


def ready(session: Session) -> dict[str, set[str]]:
    """Map the sites that have something to do now to the kinds of it."""
    found: dict[str, set[str]] = {}
    for site, kind in session.execute(_READY).all():
        found.setdefault(site, set()).add(kind)
    return found


_TAKEN = (
    select(Transfer.executor_id, Transfer.kind, func.count())
    .where(
        col(Transfer.state).in_(TAKEN),
        col(Transfer.executor_id).in_(bindparam("executors", expanding=True)),
    )
    .group_by(col(Transfer.executor_id), col(Transfer.kind))
)


def taken(session: Session, executors: Iterable[str]) -> Counter[tuple[str, str]]:
    """Count what executors were told of or are doing, by executor and kind."""
    rows = session.exec(_TAKEN, params={"executors": list(executors)}).all()
    return Counter({(executor, kind): number for executor, kind, number in rows})


_COPIES_OF = (
    select(func.count())
    .select_from(Transfer)
    .where(
        Transfer.shard_id == bindparam("shard"),
        Transfer.id != bindparam("transfer"),
        Transfer.kind == TransferKind.COPY,
        col(Transfer.not_before).is_(None),
    )
)
_COPIES_TAKEN = _COPIES_OF.where(col(Transfer.state).in_(TAKEN))
_COPIES_RUNNING = _COPIES_OF.where(Transfer.state == TransferState.RUNNING)
_COPIES_RUNNING_BEFORE = _COPIES_RUNNING.where(Transfer.id < bindparam("transfer"))


def copies_before(session: Session, transfer: Transfer) -> int:
    """Count the other copies of a copy's shard that are made before it; no paused one is.

    Of those that run side by side the one with the least id comes first: so one of them goes on.
    """
    query = _COPIES_TAKEN
    if transfer.state == TransferState.RUNNING:
        query = _COPIES_RUNNING_BEFORE if transfer.not_before is None else _COPIES_RUNNING
    return session.exec(query, params={"shard": transfer.shard_id, "transfer": transfer.id}).one()


_LIVE = select(Transfer).where(
    Transfer.shard_id == bindparam("shard"),
    Transfer.target_id == bindparam("target"),
    col(Transfer.kind).in_(bindparam("kinds", expanding=True)),
    col(Transfer.state).in_(bindparam("states", expanding=True)),
)


def live(
    session: Session, shard: str, target: str, kinds: Sequence[str], states: Sequence[str] = LIVE
) -> Transfer | None:
    """Return the transfer of ``kinds`` for a shard at a site that is in one of ``states``."""
    asked = {"shard": shard, "target": target, "kinds": list(kinds), "states": list(states)}
    return session.exec(_LIVE, params=asked).first()


def of_site(session: Session, site: str) -> Sequence[Transfer]:
    """Take the transfers to a site, or carried out by it, that have not ended."""
    return session.exec(
        select(Transfer)
        .where(
            or_(col(Transfer.target_id) == site, col(Transfer.executor_id) == site),
            col(Transfer.state).in_(UNENDED),
        )
        .order_by(col(Transfer.id))
        .with_for_update()
    ).all()


def waiting_for(
    session: Session, site: str, kinds: Sequence[str], limit: int
) -> Sequence[Transfer]:
    """Return transfers that wait for a site to carry them out."""
    return session.exec(
        select(Transfer)
        .where(
            Transfer.state == TransferState.WAITING,
            Transfer.executor_id == site,
            col(Transfer.kind).in_(kinds),
        )
        .limit(limit)
    ).all()


_BYTES_DUE = (
    select(func.sum(Transfer.size), func.sum(Attempt.bytes_done))
    .select_from(Transfer)
    .join(
        Attempt,
        (col(Attempt.id) == col(Transfer.attempt_id)) & (Attempt.state == AttemptState.RUNNING),
        isouter=True,
    )
    .where(
        Transfer.executor_id == _EXECUTOR,
        col(Transfer.state).in_(LIVE),
        col(Transfer.kind).in_(bindparam("kinds", expanding=True)),
        col(Transfer.deadline) <= bindparam("by"),
    )
)


def bytes_due(session: Session, executor: str, kinds: Sequence[str], by: datetime) -> int:
    """Return the bytes that ``executor`` has yet to get of all that is due by a moment."""
    asked = {"executor": executor, "kinds": list(kinds), "by": by}
    due, done = session.exec(_BYTES_DUE, params=asked).one()
    return max(0, int(due or 0) - int(done or 0))


def put_off(transfer: Transfer, attempt: Attempt, reason: str) -> None:
    """Let a locked transfer wait again; the attempt that ran costs it none of its tries."""
    attempt.state, attempt.reason = AttemptState.EXPIRED, reason
    transfer.state, transfer.attempts = TransferState.WAITING, transfer.attempts - 1


_LOCKED = select(Transfer).with_for_update().execution_options(populate_existing=True)
_STILL_WAITS = _LOCKED.where(
    Transfer.id == bindparam("transfer"), Transfer.state == TransferState.WAITING
)
_ANNOUNCED = _LOCKED.where(
    Transfer.attempt_id == bindparam("attempt"),
    Transfer.executor_id == _EXECUTOR,
    Transfer.state == TransferState.ANNOUNCED,
)


def announce(session: Session, transfer: Transfer, task: str, now: datetime) -> Attempt | None:
    """Make an attempt and its wake-up for a waiting transfer; None if it waits no longer."""
    won = session.exec(_STILL_WAITS, params={"transfer": transfer.id}).first()
    if won is None:
        return None
    attempt = Attempt(transfer_id=won.id, site_id=won.executor_id, announced_at=now)
    won.state, won.attempt_id, won.not_before = TransferState.ANNOUNCED, attempt.id, None
    won.reason = f"announced to {won.executor_id}, not claimed yet"
    session.add(attempt)
    session.add(Wakeup(site_id=attempt.site_id, task=task, attempt_id=attempt.id, created_at=now))
    return attempt


def take(session: Session, attempt: str, site: str) -> Transfer | None:
    """Let ``attempt`` take its announced transfer and raise the fence; None if it may not."""
    won = session.exec(_ANNOUNCED, params={"attempt": attempt, "executor": site}).first()
    if won is not None:
        won.state, won.reason = TransferState.RUNNING, f"running at {site}"
        won.fence, won.attempts = won.fence + 1, won.attempts + 1
    return won


def take_back(session: Session, transfer: Transfer, attempt: Attempt) -> None:
    """Give a locked transfer back to an attempt that nobody has superseded."""
    withdraw_announced(session, transfer.id)
    transfer.state, transfer.attempt_id = TransferState.RUNNING, attempt.id
    transfer.not_before, transfer.reason = None, f"running at {attempt.site_id}"


def give_back(session: Session, attempt: str, reason: str) -> None:
    """Let an attempt that was claimed, but whose order nobody got, be claimed again."""
    row = session.get_one(Attempt, attempt)
    transfer = lock(session, row.transfer_id)
    session.refresh(row)
    if row.state != AttemptState.RUNNING or transfer.fence != row.fence:
        return
    row.state, row.fence, row.claimed_at, row.lease_until = AttemptState.ANNOUNCED, None, None, None
    transfer.state, transfer.reason = TransferState.ANNOUNCED, reason
    transfer.attempts -= 1


_EXPIRED = (
    select(Attempt)
    .where(Attempt.state == AttemptState.RUNNING, col(Attempt.lease_until) < _NOW)
    .order_by(col(Attempt.lease_until))
    .limit(_LIMIT)
)


def expired(session: Session, now: datetime, limit: int) -> Sequence[Attempt]:
    """Return running attempts whose lease has run out."""
    return session.exec(_EXPIRED, params={"now": now, "most": limit}).all()


def release(session: Session, attempt: Attempt, reason: str, now: datetime) -> bool:
    """Make the transfer of an attempt whose lease ran out claimable again."""
    transfer = lock(session, attempt.transfer_id)
    session.refresh(attempt)
    lapsed = attempt.lease_until is None or attempt.lease_until < now
    if attempt.state != AttemptState.RUNNING or not lapsed:
        return False
    attempt.state, attempt.reason = AttemptState.EXPIRED, reason
    if transfer.fence != attempt.fence or transfer.state != TransferState.RUNNING:
        return False
    transfer.state, transfer.not_before, transfer.reason = TransferState.WAITING, None, reason
    return True


def lock(session: Session, transfer: str) -> Transfer:
    """Take a transfer's row for this unit of work."""
    return session.get_one(Transfer, transfer, with_for_update=True, populate_existing=True)


def withdraw_announced(session: Session, transfer: str) -> None:
    """Take back what was announced for a transfer: an earlier attempt came through after all."""
    session.exec(
        update(Attempt)
        .where(
            col(Attempt.transfer_id) == transfer,
            col(Attempt.state) == AttemptState.ANNOUNCED,
        )
        .values(state=AttemptState.WITHDRAWN, reason="the attempt before it came through")
    )


def withdraw_all(session: Session, transfer: str, reason: str) -> None:
    """Take back every attempt at a transfer that has not ended, those that run as well."""
    under_way = (AttemptState.ANNOUNCED, AttemptState.RUNNING, AttemptState.EXPIRED)
    session.exec(
        update(Attempt)
        .where(col(Attempt.transfer_id) == transfer, col(Attempt.state).in_(under_way))
        .values(state=AttemptState.WITHDRAWN, reason=reason)
    )


_UNCLAIMED = (
    select(Attempt)
    .where(Attempt.state == AttemptState.ANNOUNCED, col(Attempt.announced_at) < _NOW)
    .order_by(col(Attempt.announced_at))
    .limit(_LIMIT)
)


def unclaimed(session: Session, before: datetime, limit: int) -> Sequence[Attempt]:
    """Return attempts that were announced before a moment and claimed by nobody."""
    return session.exec(_UNCLAIMED, params={"now": before, "most": limit}).all()


_UNSENT = select(Wakeup).where(col(Wakeup.sent_at).is_(None)).order_by(col(Wakeup.id)).limit(_LIMIT)


def unsent(session: Session, limit: int) -> Sequence[Wakeup]:
    """Return the wake-ups that have yet to be sent, oldest first."""
    return session.exec(_UNSENT, params={"most": limit}).all()


_SENT = (
    update(Wakeup)
    .where(col(Wakeup.id).in_(bindparam("wakeups", expanding=True)))
    .values(sent_at=_NOW)
)
_SENT_LONG_AGO = delete(Wakeup).where(col(Wakeup.sent_at) < _NOW)


def mark_sent(session: Session, wakeups: Sequence[int], now: datetime) -> None:
    """Note that wake-ups are with the broker, and forget those of a day ago."""
    connection = session.connection()  # no object has to follow
    connection.execute(_SENT, {"wakeups": list(wakeups), "now": now})
    connection.execute(_SENT_LONG_AGO, {"now": now - timedelta(days=1)})


_NUDGED = select(Wakeup.id).where(
    Wakeup.site_id == _EXECUTOR, Wakeup.task == "seed", col(Wakeup.sent_at).is_(None)
)


def nudge(session: Session, site: str, now: datetime) -> None:
    """Put one wake-up for ``site``'s seeder into the outbox, unless one is waiting there.

    A site that has no worker has no seeder.
    """
    row = session.get(Site, site)
    if row is not None and row.driver in UNMANNED_DRIVERS:
        return
    if session.exec(_NUDGED, params={"executor": site}).first() is None:
        session.add(Wakeup(site_id=site, task="seed", created_at=now))


def cancel(session: Session, transfer: Transfer, reason: str, now: datetime) -> bool:
    """End a waiting transfer that is not wanted any more; False if it waits no longer."""
    won = session.exec(
        update(Transfer)
        .where(col(Transfer.id) == transfer.id, col(Transfer.state) == TransferState.WAITING)
        .values(state=TransferState.CANCELLED, reason=reason, ended_at=now, not_before=None)
        .returning(col(Transfer.id))
    ).first()
    return won is not None
