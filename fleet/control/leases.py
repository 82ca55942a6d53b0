"""Claims, heartbeats and expiry.

Rules this module keeps:

- A claim raises the transfer's fence; whoever holds a lower one is superseded.
- An expired lease merely makes the work claimable again.  Until somebody claims it, a late
  heartbeat takes it back.
- No lease expires while nobody could have renewed it: not while the server is away, nor until two
  leases after the server or the scheduler came back.
"""

from datetime import datetime, timedelta
from typing import Literal

from sqlmodel import Session

from fleet.control import (
    budgets,
    executors,
    ledger,
    offices,
    orders,
    replicas,
    tombstones,
    windows,
)
from fleet.control.errors import NotFoundError, RefusedError
from fleet.messages import Budget, Heartbeat, HeartbeatAnswer, Order
from fleet.planning.states import TASKS, AttemptState, TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Attempt, Site, Transfer, Wakeup
from fleet.store.tables import Budget as BudgetRow

_BATCH = 200
_PATIENCE = 6  # announcements in vain before a site counts as silent


def claim(store: Store, settings: CentreSettings, attempt_id: str, site: str) -> Order:
    """Give ``site`` the Order of an announced attempt.

    The order is written once the claim is committed: thousands of files take a second, for which
    nobody else's heartbeat shall wait.

    Raises:
        NotFoundError: there is no such attempt at this site.
        RefusedError: it is claimed already, or no longer wanted.
    """
    with store.write() as session:
        attempt = _attempt(session, attempt_id, site)
        called_off = tombstones.call_off_unsafe(session, attempt.transfer_id, store.now(session))
        transfer = None if called_off else transfers.take(session, attempt_id, site)
        if transfer is not None:
            _begin(session, settings, transfer, attempt, store.now(session))
    if transfer is None:
        said = f"attempt {attempt_id} is {attempt.state}, not announced"
        raise RefusedError(called_off or said)
    try:
        return _order(store, settings, attempt)
    except Exception as error:
        reason = f"its order could not be written: {type(error).__name__}: {error}"
        with store.write() as session:
            now, refused = store.now(session), isinstance(error, RefusedError)
            if not (refused and executors.withdraw(session, attempt_id, reason, now)):
                transfers.give_back(session, attempt_id, reason)
        raise


def _begin(
    session: Session,
    settings: CentreSettings,
    transfer: Transfer,
    attempt: Attempt,
    now: datetime,
) -> None:
    _heard(session, attempt.site_id)
    attempt.state, attempt.fence, attempt.claimed_at = AttemptState.RUNNING, transfer.fence, now
    attempt.lease_until = now + timedelta(seconds=settings.lease_seconds)
    if transfer.kind == TransferKind.COPY and transfer.shard_id:
        replicas.copying(session, transfer.shard_id, transfer.target_id)


def _order(store: Store, settings: CentreSettings, attempt: Attempt) -> Order:
    """Write the order of an attempt that was claimed, and note the places of its sources."""
    with store.read() as session:
        transfer = session.get_one(Transfer, attempt.transfer_id)
        allowed = budget(session, transfer)
        order, places = orders.build(session, settings, transfer, attempt, allowed)
    if places:
        with store.write() as session:
            session.get_one(Attempt, attempt.id).sources = places
    shares = budgets.begin(store, settings, order)
    if not shares:
        return order
    return order.model_copy(update={"budget": order.budget.model_copy(update={"shares": shares})})


def heartbeat(
    store: Store, settings: CentreSettings, attempt_id: str, site: str, beat: Heartbeat
) -> HeartbeatAnswer:
    """Renew the lease of a running attempt, or tell it to pause or to stop.

    One whose site's quiet hours are over pauses until the next.  It stops instead, and waits in the
    store with what it has, where something that need not wait would have its slot.

    Raises:
        NotFoundError: there is no such attempt at this site.
    """
    lease = settings.lease_seconds
    with store.write() as session:
        attempt = _attempt(session, attempt_id, site)
        transfer = transfers.lock(session, attempt.transfer_id)
        session.refresh(attempt)
        if not _holds(attempt, transfer, beat.fence):
            reason = f"attempt {attempt_id} is {attempt.state}, its transfer {transfer.state}"
            if transfer.fence != beat.fence:
                reason = f"a later claim (fence {transfer.fence}) superseded attempt {attempt_id}"
            return HeartbeatAnswer(action="stop", reason=reason, lease_seconds=lease)
        if transfer.state != TransferState.RUNNING:
            transfers.take_back(session, transfer, attempt)
        now = store.now(session)
        attempt.state, attempt.bytes_done = AttemptState.RUNNING, beat.bytes_done
        attempt.lease_until = now + timedelta(seconds=lease)
        _heard(session, site)
        action, reason = _turn(session, transfer, attempt, now)
        allowed = budget(session, transfer)
        limited = budgets.relevant(session, attempt, beat)
    if action != "continue":  # its slices run out: others can use what it would not
        beat = beat.model_copy(update={"wants": ()})
    shares = budgets.renew(store, settings, attempt_id, beat, limited)
    allowed = allowed.model_copy(update={"shares": shares})
    return HeartbeatAnswer(action=action, reason=reason, lease_seconds=lease, budget=allowed)


def _turn(
    session: Session, transfer: Transfer, attempt: Attempt, now: datetime
) -> tuple[Literal["continue", "pause", "stop"], str]:
    """Say what the quiet hours of a running transfer's site want of it, and note why."""
    site = session.get_one(Site, transfer.executor_id)
    quiet = windows.of(session, site)
    turn = windows.turn(session, quiet, transfer, now)
    if turn.goes:
        running = f"running at {site.id}" + (f": {turn.reason}" if turn.reason else "")
        if transfer.reason != running:
            transfer.reason = running
        transfer.not_before = None
        return "continue", turn.reason
    transfer.not_before = turn.until
    if windows.wanted(session, quiet, site, now):
        transfer.reason = f"{site.id} {turn.reason}; its slot goes to work that does not wait"
        transfers.put_off(transfer, attempt, transfer.reason)
        return "stop", transfer.reason
    transfer.reason = f"paused: {site.id} {turn.reason}"
    return "pause", turn.reason


def expire(store: Store, settings: CentreSettings) -> int:
    """Make the transfers of lapsed attempts claimable again; return how many."""
    with store.read() as session:
        now = store.now(session)
        if not offices.leases_may_expire(session, now, settings.lease_seconds):
            return 0
        lapsed = [attempt.id for attempt in transfers.expired(session, now, _BATCH)]
    for attempt_id in lapsed:  # each by itself, so that no two rows wait for each other's locks
        with store.write() as session:
            attempt = session.get_one(Attempt, attempt_id)
            reason = f"{attempt.site_id} was silent for {settings.lease_seconds:g} s"
            ledger.lapse(session, settings, attempt, reason, store.now(session))
    return len(lapsed)


def announce_again(store: Store, settings: CentreSettings) -> int:
    """Send the wake-ups of unclaimed attempts anew: the broker may have lost them.

    A site that claims nothing for ``_PATIENCE`` leases counts as silent, and what another site
    could do in its stead is given to another.
    """
    lease = timedelta(seconds=settings.lease_seconds)
    with store.read() as session:
        before = store.now(session) - lease
        forgotten = [attempt.id for attempt in transfers.unclaimed(session, before, _BATCH)]
    for attempt_id in forgotten:
        with store.write() as session:
            _announce_again(session, session.get_one(Attempt, attempt_id), store)
    return len(forgotten)


def _announce_again(session: Session, attempt: Attempt, store: Store) -> None:
    transfer = transfers.lock(session, attempt.transfer_id)
    session.refresh(attempt)
    if attempt.state != AttemptState.ANNOUNCED or transfer.attempt_id != attempt.id:
        return
    now = store.now(session)
    attempt.announced_at, attempt.announcements = now, attempt.announcements + 1
    if attempt.announcements > _PATIENCE:
        session.get_one(Site, attempt.site_id).silent = True
        transfer.reason = f"{attempt.site_id} answers no wake-up; it is asked again"
        if ledger.reassign(session, transfer, attempt, now):
            return
    session.add(
        Wakeup(
            site_id=attempt.site_id,
            task=TASKS[transfer.kind],
            attempt_id=attempt.id,
            created_at=now,
        )
    )


def _holds(attempt: Attempt, transfer: Transfer, fence: int) -> bool:
    """Whether an attempt may go on: nobody claimed after it, and its transfer has not ended."""
    return (
        fence == attempt.fence == transfer.fence
        and attempt.state in (AttemptState.RUNNING, AttemptState.EXPIRED)
        and transfer.state in transfers.LIVE
    )


def _heard(session: Session, site_id: str) -> None:
    site = session.get_one(Site, site_id)
    if site.silent:
        site.silent = False


def budget(session: Session, transfer: Transfer) -> Budget:
    """Return what an attempt of ``transfer`` may use until its next heartbeat."""
    row = session.get(BudgetRow, transfer.executor_id)
    if row is None:
        return Budget()
    slots = session.get_one(Site, transfer.executor_id).slots
    rate = None if row.bytes_per_second is None else max(1, row.bytes_per_second // slots)
    return Budget(streams=row.streams, bytes_per_second=rate)


def _attempt(session: Session, attempt_id: str, site: str) -> Attempt:
    attempt = session.get(Attempt, attempt_id)
    if attempt is None or attempt.site_id != site:
        raise NotFoundError(f"site {site} has no attempt {attempt_id}")
    return attempt
