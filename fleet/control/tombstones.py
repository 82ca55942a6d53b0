"""Dropping copies that serve no rule any more: a tombstone, a time of grace, readings, a drop.

Rules this module keeps (the decision is ``fleet.planning.tombstones``):

- A tombstone is lifted as soon as its copy serves the rule again, or fewer than ``min`` others are
  good, up to the moment at which the site claims the drop.
- Nothing is dropped of what its site serves under bare names.
- Once a drop is announced the copy is ``leaving``: nobody is sent to it, and no seeder holds it.
- A drop whose others are no longer proved when it is claimed is called off, and the copy is read
  before it counts again.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func
from sqlmodel import Session, col, select

from fleet.control import facts, gateways, incidents, replicas, served, standing
from fleet.planning.facts import Choice
from fleet.planning.spread import gateway
from fleet.planning.states import AttemptState, TransferKind, TransferState
from fleet.planning.tombstones import Act, OtherCopy, next_act
from fleet.store import locking, transfers
from fleet.store.database import Store
from fleet.store.tables import (
    Attempt,
    Incident,
    Placement,
    Replica,
    Shard,
    Site,
    Tombstone,
    Transfer,
    Version,
)

_AT_ONCE = 50
_LATER = timedelta(hours=6)
_READS = (TransferKind.VERIFY, TransferKind.COPY)
_UNCLAIMED = (TransferState.WAITING, TransferState.ANNOUNCED, TransferState.SUSPENDED)


def marked(session: Session, shard: str) -> set[str]:
    """Name the sites whose copy of a shard has a tombstone."""
    return set(session.exec(select(Tombstone.site_id).where(Tombstone.shard_id == shard)).all())


def reconcile(
    session: Session,
    shard: str,
    surplus: Iterable[Choice],
    now: datetime,
    grace: timedelta,
) -> None:
    """Give each surplus copy of a locked shard a tombstone, and lift those of the others.

    Nothing is dropped within ``grace``.
    """
    extra = {one.site: one.reason for one in surplus}
    rows = session.exec(select(Tombstone).where(Tombstone.shard_id == shard)).all()
    for row in rows:
        reason = extra.pop(row.site_id, "")
        if row.transfer_id is not None:
            row.look_at = now  # by itself: a transfer is locked before its shard
        elif reason:
            row.reason = reason
        else:
            session.delete(row)
    drop_after = now + grace
    for site, reason in extra.items():
        if not _give_up_copying(session, shard, site, reason, now):
            session.add(
                Tombstone(
                    shard_id=shard,
                    site_id=site,
                    reason=reason,
                    waits=f"is kept until {drop_after:%Y-%m-%d %H:%M} UTC",
                    made_at=now,
                    drop_after=drop_after,
                    look_at=drop_after,
                )
            )


_DUE = (
    select(Tombstone.shard_id, Tombstone.site_id)
    .where(col(Tombstone.look_at) <= bindparam("now"))
    .order_by(col(Tombstone.look_at))
    .limit(_AT_ONCE)
)


def step(store: Store) -> bool:
    """Look at a batch of tombstones whose time has come; False when there are none."""
    with store.read() as session:
        now = store.now(session)
        due = session.exec(_DUE, params={"now": now}).all()
    for key in due:
        with store.write() as session:
            _look_at(session, key, store.now(session))
    return bool(due)


def call_off_unsafe(session: Session, transfer_id: str, now: datetime) -> str:
    """Call a drop off that nobody has claimed, where its others are no longer proved; say why.

    Of any other transfer nothing is said.
    """
    transfer = session.get_one(Transfer, transfer_id)
    if transfer.kind != TransferKind.DROP:
        return ""
    transfer = transfers.lock(session, transfer_id)
    locking.lock(session, Shard, transfer.shard_id)
    row = _again(session, (transfer.shard_id or "", transfer.target_id))
    if row is None or transfer.state not in _UNCLAIMED:
        return ""
    act = _next_act(session, row, now)
    if act.do == "drop":
        return ""
    reason = f"the drop was called off: {act.reason}"
    _call_off(session, row, transfer, reason, now)
    return reason


def _call_off(
    session: Session, row: Tombstone, transfer: Transfer, reason: str, now: datetime
) -> None:
    """Take back a drop; what it may have done before is found out by reading the copy."""
    transfers.withdraw_announced(session, transfer.id)
    transfer.state, transfer.ended_at, transfer.reason = TransferState.CANCELLED, now, reason
    row.transfer_id, row.look_at, row.waits = None, now + _LATER, reason
    replicas.stay(session, row.shard_id, row.site_id, reason, now)


def dropped(session: Session, shard: str, site: str, now: datetime) -> None:
    """Note that a site has deleted its copy of a shard."""
    row = session.get(Tombstone, (shard, site))
    reason = row.reason if row else "its tombstone was lifted meanwhile"
    replicas.gone(session, shard, site, f"dropped {now:%Y-%m-%d}: {reason}")
    if row is not None:
        session.delete(row)


def forget_site(session: Session, site: str) -> None:
    """Lift the tombstones of a site that is retired: nothing on its disks is touched."""
    for row in session.exec(select(Tombstone).where(Tombstone.site_id == site)).all():
        session.delete(row)


def _again(session: Session, key: tuple[str, str]) -> Tombstone | None:
    """Read a tombstone anew, under the lock of its shard; None if it was lifted meanwhile."""
    return session.get(Tombstone, key, populate_existing=True)


def _look_at(session: Session, key: tuple[str, str], now: datetime) -> None:
    """Look at a tombstone; nothing of it is written before its transfer and shard are taken."""
    row = session.get(Tombstone, key)
    if row is None:
        return
    drop = row.transfer_id
    if drop is not None and call_off_unsafe(session, drop, now):
        return
    locking.lock(session, Shard, row.shard_id)
    row = _again(session, key)
    if row is None or row.transfer_id != drop:
        return
    if drop is not None:
        row.look_at = None
        return
    act = _next_act(session, row, now)
    row.waits, row.look_at = act.reason, act.until
    for site in act.verify:
        reason = f"read before the copy at {row.site_id} is dropped"
        replicas.want_verify(session, row.shard_id, site, reason, now)
    if act.do != "drop":
        return
    shard = session.get_one(Shard, row.shard_id)
    reason = f"{row.reason}; {act.reason}"
    transfer = Transfer(
        kind=TransferKind.DROP,
        version_id=shard.version_id,
        shard_id=shard.id,
        target_id=row.site_id,
        executor_id=row.site_id,
        reason=reason,
        created_at=now,
    )
    session.add(transfer)
    row.transfer_id = transfer.id
    replicas.leave(session, shard.id, row.site_id, reason, now)


def _next_act(session: Session, row: Tombstone, now: datetime) -> Act:
    busy = transfers.live(session, row.shard_id, row.site_id, _READS)
    waits_for = f"its {busy.kind}, which is {busy.state}" if busy else ""
    if incidents.of(session, row.site_id) is not None:  # its copies may be samples
        waits_for = f"{row.site_id}, which is judged as a whole"
    version = session.get_one(Version, session.get_one(Shard, row.shard_id).version_id)
    waits_for = waits_for or served.keeps(session, version, row.site_id)
    rule = facts.rule_of(session, version.dataset_id)
    return next_act(
        row.drop_after,
        0 if version.unneeded else max(1, rule.min_copies if rule else 1),
        _others(session, row),
        waits_for,
        now,
    )


def _others(session: Session, row: Tombstone) -> list[OtherCopy]:
    """List the copies that were chosen for the shard's rule, without those to be dropped.

    Of a site that is at fault as a whole only what was read since that began is good.  A gateway
    and what it fronts have the same bytes: neither is left when those of the other go, nor is a
    gateway's copy when a site that it fronts is retired.
    """
    read = dict(
        session.exec(
            select(Transfer.target_id, func.max(col(Attempt.claimed_at)))
            .join(Attempt, col(Attempt.transfer_id) == col(Transfer.id))
            .where(
                Transfer.shard_id == row.shard_id,
                col(Transfer.kind).in_(_READS),
                Attempt.state == AttemptState.SUCCEEDED,
            )
            .group_by(col(Transfer.target_id))
        ).all()
    )
    copies = session.exec(
        select(Replica, Site)
        .join(Site, col(Site.id) == col(Replica.site_id))
        .join(
            Placement,
            (col(Placement.shard_id) == col(Replica.shard_id))
            & (col(Placement.site_id) == col(Replica.site_id)),
        )
        .where(Replica.shard_id == row.shard_id, Replica.site_id != row.site_id)
        .execution_options(populate_existing=True)
    ).all()
    going, fronted = marked(session, row.shard_id), gateways.fronted(session)
    judged, gone = incidents.judged(session), gateways.gone(session)
    return [
        _other(copy, site, judged.get(site.id), read.get(site.id), site.id not in gone)
        for copy, site in copies
        if site.id not in going and not gateway(row.site_id, site.id, fronted)
    ]


def _other(
    copy: Replica, site: Site, incident: Incident | None, read: datetime | None, stays: bool
) -> OtherCopy:
    began = incident.began_at if incident else None
    stays = stays and not site.silent and not site.retired and site.retiring is None
    if began is not None and read is not None and read < began:
        read = None
    return OtherCopy(site.id, stays and standing.counts(copy, began), read)


def _give_up_copying(session: Session, shard: str, site: str, reason: str, now: datetime) -> bool:
    """Cancel a copy that has not begun; whether nothing of the shard can be at the site."""
    transfer = session.exec(
        select(Transfer)
        .where(
            Transfer.shard_id == shard,
            Transfer.target_id == site,
            Transfer.kind == TransferKind.COPY,
            col(Transfer.state).in_(_UNCLAIMED),
        )
        .with_for_update(skip_locked=True)  # who holds it may wait for the shard
        .execution_options(populate_existing=True)
    ).first()
    if transfer is None:
        return False
    transfers.withdraw_announced(session, transfer.id)
    transfer.state, transfer.ended_at, transfer.reason = TransferState.CANCELLED, now, reason
    if transfer.attempts or not replicas.only_wanted(session, shard, site):
        return False
    replicas.gone(session, shard, site, reason)
    return True
