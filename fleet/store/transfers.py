"""Named queries over transfers, attempts and wake-ups.

Every change of state names the state it starts from, in the outermost WHERE: of any number of
processes that try the same change at once, one succeeds (on PostgreSQL a condition inside a
sub-select is not enough).  A transfer's row is always taken before its attempt's.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, func, or_, update
from sqlmodel import Session, col, select

from fleet.planning.states import AttemptState, TransferKind, TransferState
from fleet.store.tables import Attempt, Site, Transfer, Wakeup

LIVE = (TransferState.WAITING, TransferState.ANNOUNCED, TransferState.RUNNING)
TAKEN = (TransferState.ANNOUNCED, TransferState.RUNNING)
UNENDED = (*LIVE, TransferState.SUSPENDED)
BULK_KINDS = (TransferKind.INGEST, TransferKind.COPY, TransferKind.VERIFY, TransferKind.DROP)
_RANK = (
    col(Transfer.priority).desc(),
    col(Transfer.deadline).is_(None),
    col(Transfer.deadline),
    col(Transfer.id),
)


def wake(session: Session, now: datetime, limit: int) -> int:
    """Let transfers be ready whose time has come; return how many.

    Ready ones have no time, so that among ever so many that wait the next is found by its rank.
    """
    come = (
        select(Transfer.id)
        .where(Transfer.state == TransferState.WAITING, col(Transfer.not_before) <= now)
        .order_by(col(Transfer.not_before))
        .limit(limit)
        .with_for_update(skip_locked=True)  # who holds one decides about it anyway
    )
    woken = session.exec(
        update(Transfer)
        .where(
            col(Transfer.id).in_(come.scalar_subquery()),
            col(Transfer.state) == TransferState.WAITING,
            col(Transfer.not_before) <= now,
        )
        .values(not_before=None)
        .execution_options(synchronize_session=False)
    )
    return woken.rowcount


def time_has_come(session: Session, now: datetime) -> bool:
    """Whether a transfer waits whose time has come."""
    return (
        session.exec(
            select(Transfer.id)
            .where(Transfer.state == TransferState.WAITING, col(Transfer.not_before) <= now)
            .limit(1)
        ).first()
        is not None
    )


def due(session: Session, executor: str, kinds: Sequence[str], limit: int) -> Sequence[Transfer]:
    """Return the transfers that ``executor`` should do next, of those that are ready."""
    best = [
        select(Transfer.id)
        .where(
            Transfer.state == TransferState.WAITING,
            Transfer.executor_id == executor,
            Transfer.kind == kind,
            col(Transfer.not_before).is_(None),
        )
        .order_by(*_RANK)
        .limit(limit)
        for kind in kinds  # each by itself: so it is read in order, and no further
    ]
    ids = [one for asked in best for one in session.exec(asked).all()]
    return session.exec(
        select(Transfer).where(col(Transfer.id).in_(ids)).order_by(*_RANK).limit(limit)
    ).all()


def ready(session: Session) -> dict[str, set[str]]:
    """Map the sites that have something to do now to the kinds of it."""
    found: dict[str, set[str]] = {}
    for kind in TransferKind:
        waiting = exists().where(
            col(Transfer.state) == TransferState.WAITING,
            col(Transfer.executor_id) == col(Site.id),
            col(Transfer.kind) == kind,
            col(Transfer.not_before).is_(None),
        )
        for site in session.exec(select(Site.id).where(waiting)).all():
            found.setdefault(site, set()).add(kind)
    return found


def taken(session: Session, executors: Iterable[str]) -> Counter[tuple[str, str]]:
    """Count what executors were told of or are doing, by executor and kind."""
    rows = session.exec(
        select(Transfer.executor_id, Transfer.kind, func.count())
        .where(col(Transfer.state).in_(TAKEN), col(Transfer.executor_id).in_(list(executors)))
        .group_by(col(Transfer.executor_id), col(Transfer.kind))
    ).all()
    return Counter({(executor, kind): number for executor, kind, number in rows})


def copies_before(session: Session, transfer: Transfer) -> int:
    """Count the other copies of a copy's shard that are made before it; no paused one is.

    Of those that run side by side the one with the least id comes first: so one of them goes on.
    """
    query = (
        select(func.count())
        .select_from(Transfer)
        .where(
            Transfer.shard_id == transfer.shard_id,
            Transfer.id != transfer.id,
            Transfer.kind == TransferKind.COPY,
            col(Transfer.not_before).is_(None),
        )
    )
    if transfer.state == TransferState.RUNNING:
        query = query.where(Transfer.state == TransferState.RUNNING)
        if transfer.not_before is None:
            query = query.where(Transfer.id < transfer.id)
    else:
        query = query.where(col(Transfer.state).in_(TAKEN))
    return session.exec(query).one()


def live(
    session: Session, shard: str, target: str, kinds: Sequence[str], states: Sequence[str] = LIVE
) -> Transfer | None:
    """Return the transfer of ``kinds`` for a shard at a site that is in one of ``states``."""
    return session.exec(
        select(Transfer).where(
            Transfer.shard_id == shard,
            Transfer.target_id == target,
            col(Transfer.kind).in_(kinds),
            col(Transfer.state).in_(states),
        )
    ).first()


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


def bytes_due(session: Session, executor: str, kinds: Sequence[str], by: datetime) -> int:
    """Return the bytes that ``executor`` has yet to get of all that is due by a moment."""
    due, done = session.exec(
        select(func.sum(Transfer.size), func.sum(Attempt.bytes_done))
        .select_from(Transfer)
        .join(
            Attempt,
            (col(Attempt.id) == col(Transfer.attempt_id)) & (Attempt.state == AttemptState.RUNNING),
            isouter=True,
        )
        .where(
            Transfer.executor_id == executor,
            col(Transfer.state).in_(LIVE),
            col(Transfer.kind).in_(kinds),
            col(Transfer.deadline) <= by,
        )
    ).one()
    return max(0, int(due or 0) - int(done or 0))


def put_off(transfer: Transfer, attempt: Attempt, reason: str) -> None:
    """Let a locked transfer wait again; the attempt that ran costs it none of its tries."""
    attempt.state, attempt.reason = AttemptState.EXPIRED, reason
    transfer.state, transfer.attempts = TransferState.WAITING, transfer.attempts - 1


def announce(session: Session, transfer: Transfer, task: str, now: datetime) -> Attempt | None:
    """Make an attempt and its wake-up for a waiting transfer; None if it waits no longer."""
    attempt = Attempt(transfer_id=transfer.id, site_id=transfer.executor_id, announced_at=now)
    won = session.exec(
        update(Transfer)
        .where(col(Transfer.id) == transfer.id, col(Transfer.state) == TransferState.WAITING)
        .values(
            state=TransferState.ANNOUNCED,
            attempt_id=attempt.id,
            not_before=None,
            reason=f"announced to {transfer.executor_id}, not claimed yet",
        )
        .returning(col(Transfer.id))
    ).first()
    if won is None:
        return None
    session.add(attempt)
    session.add(Wakeup(site_id=attempt.site_id, task=task, attempt_id=attempt.id, created_at=now))
    return attempt


def take(session: Session, attempt: str, site: str) -> Transfer | None:
    """Let ``attempt`` take its announced transfer and raise the fence; None if it may not."""
    won = session.exec(
        update(Transfer)
        .where(
            col(Transfer.attempt_id) == attempt,
            col(Transfer.executor_id) == site,
            col(Transfer.state) == TransferState.ANNOUNCED,
        )
        .values(
            state=TransferState.RUNNING,
            fence=col(Transfer.fence) + 1,
            attempts=col(Transfer.attempts) + 1,
            reason=f"running at {site}",
        )
        .returning(col(Transfer.id))
    ).first()
    return None if won is None else session.get(Transfer, won[0], populate_existing=True)


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


def expired(session: Session, now: datetime, limit: int) -> Sequence[Attempt]:
    """Return running attempts whose lease has run out."""
    return session.exec(
        select(Attempt)
        .where(Attempt.state == AttemptState.RUNNING, col(Attempt.lease_until) < now)
        .order_by(col(Attempt.lease_until))
        .limit(limit)
    ).all()


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
    return session.exec(
        select(Transfer)
        .where(Transfer.id == transfer)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


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


def unclaimed(session: Session, before: datetime, limit: int) -> Sequence[Attempt]:
    """Return attempts that were announced before a moment and claimed by nobody."""
    return session.exec(
        select(Attempt)
        .where(Attempt.state == AttemptState.ANNOUNCED, col(Attempt.announced_at) < before)
        .order_by(col(Attempt.announced_at))
        .limit(limit)
    ).all()


def unsent(session: Session, limit: int) -> Sequence[Wakeup]:
    """Return the wake-ups that have yet to be sent, oldest first."""
    return session.exec(
        select(Wakeup).where(col(Wakeup.sent_at).is_(None)).order_by(col(Wakeup.id)).limit(limit)
    ).all()


def mark_sent(session: Session, wakeups: Sequence[int], now: datetime) -> None:
    """Note that wake-ups are with the broker, and forget those of a day ago."""
    session.exec(update(Wakeup).where(col(Wakeup.id).in_(wakeups)).values(sent_at=now))
    session.exec(delete(Wakeup).where(col(Wakeup.sent_at) < now - timedelta(days=1)))


def nudge(session: Session, site: str, now: datetime) -> None:
    """Put one wake-up for ``site``'s seeder into the outbox, unless one is waiting there."""
    waiting = session.exec(
        select(Wakeup.id).where(
            Wakeup.site_id == site, Wakeup.task == "seed", col(Wakeup.sent_at).is_(None)
        )
    ).first()
    if waiting is None:
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
