"""Claims, heartbeats and expiry.

Rules this module keeps:

- A claim raises the transfer's fence; whoever holds a lower one is superseded.
- An expired lease merely makes the work claimable again.  Until somebody claims it, a late
  heartbeat takes it back.
- No lease expires while nobody could have renewed it: not while the server is away, nor until two
  leases after the server or the scheduler came back.
"""

from datetime import timedelta

from sqlmodel import Session

from fleet.control import ledger, offices, orders, replicas
from fleet.control.errors import NotFoundError, RefusedError
from fleet.messages import Budget, Heartbeat, HeartbeatAnswer, Order
from fleet.planning.states import TASKS, AttemptState, TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Attempt, Site, Transfer, Wakeup
from fleet.store.tables import Budget as BudgetRow

_BATCH = 200


def claim(store: Store, settings: CentreSettings, attempt_id: str, site: str) -> Order:
    """Give ``site`` the Order of an announced attempt.

    Raises:
        NotFoundError: there is no such attempt at this site.
        RefusedError: it is claimed already, or no longer wanted.
    """
    with store.write() as session:
        attempt = _attempt(session, attempt_id, site)
        transfer = transfers.take(session, attempt_id, site)
        if transfer is None:
            raise RefusedError(f"attempt {attempt_id} is {attempt.state}, not announced")
        now = store.now(session)
        attempt.state, attempt.fence, attempt.claimed_at = AttemptState.RUNNING, transfer.fence, now
        attempt.lease_until = now + timedelta(seconds=settings.lease_seconds)
        if transfer.kind == TransferKind.COPY and transfer.shard_id:
            replicas.copying(session, transfer.shard_id, transfer.target_id)
        session.flush()
        return orders.build(session, settings, transfer, attempt, budget(session, transfer))


def heartbeat(
    store: Store, settings: CentreSettings, attempt_id: str, site: str, beat: Heartbeat
) -> HeartbeatAnswer:
    """Renew the lease of a running attempt, or tell it to stop.

    Raises:
        NotFoundError: there is no such attempt at this site.
    """
    with store.write() as session:
        attempt = _attempt(session, attempt_id, site)
        until = store.now(session) + timedelta(seconds=settings.lease_seconds)
        held = beat.fence == attempt.fence and (
            transfers.renew(session, attempt, until, beat.bytes_done)
            or (
                attempt.state == AttemptState.EXPIRED
                and transfers.revive(session, attempt)
                and transfers.renew(session, attempt, until, beat.bytes_done)
            )
        )
        if not held:
            return HeartbeatAnswer(
                action="stop",
                reason=f"attempt {attempt_id} is {attempt.state} and was superseded",
                lease_seconds=settings.lease_seconds,
            )
        transfer = session.get_one(Transfer, attempt.transfer_id)
        return HeartbeatAnswer(
            action="continue",
            lease_seconds=settings.lease_seconds,
            budget=budget(session, transfer),
        )


def expire(store: Store, settings: CentreSettings) -> int:
    """Make the transfers of lapsed attempts claimable again; return how many."""
    with store.write() as session:
        now = store.now(session)
        if not offices.leases_may_expire(session, now, settings.lease_seconds):
            return 0
        lapsed = transfers.expired(session, now, _BATCH)
        for attempt in lapsed:
            reason = f"{attempt.site_id} was silent for {settings.lease_seconds:g} s"
            ledger.lapse(session, settings, attempt, reason, now)
        return len(lapsed)


def announce_again(store: Store, settings: CentreSettings) -> int:
    """Send the wake-ups of unclaimed attempts anew: the broker may have lost them."""
    with store.write() as session:
        now = store.now(session)
        forgotten = transfers.unclaimed(
            session, now - timedelta(seconds=settings.lease_seconds), _BATCH
        )
        for attempt in forgotten:
            transfer = transfers.lock(session, attempt.transfer_id)
            if transfer.state != TransferState.ANNOUNCED or transfer.attempt_id != attempt.id:
                attempt.state = AttemptState.WITHDRAWN
                continue
            attempt.announced_at = now
            session.add(
                Wakeup(
                    site_id=attempt.site_id,
                    task=TASKS[transfer.kind],
                    attempt_id=attempt.id,
                    created_at=now,
                )
            )
        return len(forgotten)


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
