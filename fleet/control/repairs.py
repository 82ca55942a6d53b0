"""Repairs: copies that wait become more urgent as good ones are lost, and none is written over.

Whoever hastens may hold a shard's row, which is taken after a transfer's everywhere else; so no
transfer that another unit of work holds is waited for: it is being claimed or ended anyway.
"""

from collections.abc import Collection
from datetime import datetime

from sqlmodel import Session, col, select

from fleet.control import replicas
from fleet.planning.repair import Urgency, untouchable
from fleet.planning.states import ReplicaState, TransferKind, TransferState
from fleet.store import holdings, locking, transfers
from fleet.store.tables import Transfer


def hasten(session: Session, shard: str, urgent: Urgency) -> None:
    """Let a shard's copies go earlier, or on, if they are more urgent than they were."""
    if not urgent.reason:
        return
    for transfer in session.exec(
        select(Transfer)
        .where(
            Transfer.shard_id == shard,
            Transfer.kind == TransferKind.COPY,
            col(Transfer.state).in_(transfers.LIVE),
            Transfer.priority < urgent.priority,
        )
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).all():
        transfer.priority = urgent.priority
        if transfer.state != TransferState.WAITING:
            continue  # one that is paused goes on at its next heartbeat
        transfer.reason = urgent.reason
        if not transfer.attempts:  # it waits for quiet hours, not after a failure
            transfer.not_before = None


def writes_over(session: Session, transfer: Transfer) -> bool:
    """Whether a copy would write over what may be a shard's last, as far as is known unlocked."""
    row = holdings.replica(session, transfer.shard_id or "", transfer.target_id)
    return row is not None and untouchable(row.site_id, row.state) != ""


def spare(session: Session, copies: Collection[Transfer], now: datetime) -> None:
    """Give up those copies that would write over what may be a shard's last.

    They come last in their unit of work: their shards are taken once all transfers are.
    """
    taken = [transfers.lock(session, one) for one in sorted(copy.id for copy in copies)]
    locking.lock_shards(session, {copy.shard_id or "" for copy in taken})
    for copy in taken:
        shard, target = copy.shard_id or "", copy.target_id
        row = holdings.replica(session, shard, target)
        if row is None:
            continue
        session.refresh(row)
        reason = untouchable(target, row.state)
        spared = reason and transfers.cancel(session, copy, reason, now)
        if spared and row.state == ReplicaState.SUSPECT:
            replicas.want_verify(session, shard, target, reason, now)
