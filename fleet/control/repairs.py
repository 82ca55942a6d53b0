"""Repairs: copies that wait become more urgent as good ones are lost, and none is written over.

Whoever calls this may hold a shard's row, which is taken after a transfer's everywhere else; so no
transfer that another unit of work holds is waited for: it is being claimed or ended anyway.
"""

from datetime import datetime

from sqlmodel import Session, col, select

from fleet.control import replicas
from fleet.planning.repair import Urgency, untouchable
from fleet.planning.states import ReplicaState, TransferKind, TransferState
from fleet.store import holdings, transfers
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


def spare(session: Session, transfer: Transfer, now: datetime) -> bool:
    """Give up a copy that would write over what may be a shard's last; whether it was one."""
    shard, target = transfer.shard_id or "", transfer.target_id
    row = holdings.replica(session, shard, target)
    reason = untouchable(target, row.state) if row is not None else ""
    if row is None or not reason:
        return False
    transfers.cancel(session, transfer, reason, now)
    if row.state == ReplicaState.SUSPECT:
        replicas.want_verify(session, shard, target, reason, now)
    return True
