"""The states of replicas, and the reasons for them; only the ledger's side calls it.

Observations and doubts only demote; a replica becomes available when its bytes were verified.
A shard is locked before its replicas are changed, and of several the one with the least id first,
as the scheduler does: two units of work that each wait for the other would both fail.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import incidents, standing
from fleet.messages import ItemResult
from fleet.planning import health
from fleet.planning.fixity import due, priority
from fleet.planning.states import ReplicaState, TransferKind
from fleet.settings import CentreSettings
from fleet.store import fixity, holdings, locking, transfers
from fleet.store.tables import Artifact, Replica, Shard, Site, Transfer

_ABSENT = frozenset({ReplicaState.PENDING, ReplicaState.BAD, ReplicaState.MISSING})

GOING = frozenset({ReplicaState.LEAVING, ReplicaState.RETIRED})
_THERE = frozenset({ReplicaState.AVAILABLE, ReplicaState.SUSPECT})
_FOR_A_PERSON = "its reading was given up and waits for a person to let it be tried again"
_LOOK_AGAIN = timedelta(days=1)


def expect(session: Session, shard: str, site: str, reason: str) -> Replica:
    """Note that a shard shall be at a site; a copy that is there already keeps its state."""
    row = holdings.replica(session, shard, site)
    if row is None:
        row = Replica(shard_id=shard, site_id=site, reason=reason)
        session.add(row)
    elif row.state == ReplicaState.RETIRED:
        row.state, row.reason = ReplicaState.PENDING, reason
    elif row.state in _ABSENT:
        row.reason = reason
    return row


def copying(session: Session, shard: str, site: str) -> None:
    """Note that a site has begun to copy a shard."""
    row = holdings.replica(session, shard, site)
    if row is not None and row.state in _ABSENT:
        row.state = ReplicaState.COPYING


def failed(session: Session, shard: str, site: str, reason: str) -> None:
    """Note that a copy did not come about."""
    row = holdings.replica(session, shard, site)
    if row is not None and row.state == ReplicaState.COPYING:
        row.state, row.reason = ReplicaState.PENDING, reason


def arrive(
    session: Session,
    settings: CentreSettings,
    shard: str,
    site: str,
    now: datetime,
    how: str = "its bytes arrived here first",
) -> bool:
    """Note that every byte of a shard was verified at a site just now; whether they are new there.

    So are those of a copy that was in doubt.  ``how`` is the reason of one nobody had asked for.
    """
    locking.lock(session, Shard, shard)
    row = expect(session, shard, site, how)
    if row.state == ReplicaState.LEAVING:
        return False
    fresh = row.state != ReplicaState.AVAILABLE
    if fresh:
        row.proved_at, row.proved_by = None, None
    if row.state not in _THERE:
        row.arrived_at = now
    row.state, row.faulty, row.verified_at, row.troubled_at = ReplicaState.AVAILABLE, [], now, None
    row.look_at = due(row.id, now, timedelta(days=settings.fixity_days))
    standing.recount(session, shard)
    if fresh:
        transfers.nudge(session, site, now)
    return fresh


def lose(
    session: Session,
    shard: str,
    site: str,
    faulty: Sequence[ItemResult],
    why: str,
    now: datetime,
) -> None:
    """Note that bytes of a replica are bad or missing; stop seeding it, and have it copied.

    At a site that is at fault as a whole it is copied once that is decided.
    """
    locked = locking.lock(session, Shard, shard)
    row = holdings.replica(session, shard, site)
    if row is None or row.state in GOING:
        return
    corrupt = any(item.fault == "corrupt" for item in faulty)
    row.state = ReplicaState.BAD if corrupt else ReplicaState.MISSING
    row.faulty, row.reason, row.look_at = [item.artifact for item in faulty], why, None
    row.troubled_at = now
    standing.recount(session, shard)
    if not incidents.sampling(session, site):
        locked.dirty = True
        incidents.begins(session, site, now)
    transfers.nudge(session, site, now)


def doubt(session: Session, shard: str, site: str, reason: str, now: datetime) -> None:
    """Stop counting a replica and offering it to readers, and have it verified.

    At a site that reads as much as it may, or that is at fault as a whole, it waits for its turn.
    """
    locked = locking.lock(session, Shard, shard)
    if incidents.sampling(session, site):
        _accuse(session, shard, site, now)
        return
    row = _suspect(session, shard, site, reason, now)
    if row is None:
        return
    row.troubled_at = now
    good = standing.recount(session, shard).good
    locked.dirty = True
    judged = incidents.begins(session, site, now)
    if not judged and fixity.running(session, site) < health.MANY:
        want_verify(session, shard, site, reason, now, priority(row.state, good))
        row.look_at = now + _LOOK_AGAIN


def outdate(session: Session, shard: str, site: str, oldest: datetime, now: datetime) -> None:
    """Stop counting a replica that was last read before ``oldest``; it is read in its turn."""
    locked = locking.lock(session, Shard, shard)
    row = holdings.replica(session, shard, site)
    if row is None or row.verified_at is None or row.verified_at >= oldest:
        return  # it was read meanwhile
    reason = f"not read since {row.verified_at:%Y-%m-%d}"
    if _suspect(session, shard, site, reason, now) is not None:
        standing.recount(session, shard)
        locked.dirty = True


def unreadable(session: Session, shard: str, site: str, now: datetime) -> None:
    """Stop counting a replica whose reading was given up."""
    locked = locking.lock(session, Shard, shard)
    if not fixity.given_up(session, shard, site):
        return
    if _suspect(session, shard, site, _FOR_A_PERSON, now) is not None:
        standing.recount(session, shard)
        locked.dirty = True


def forgo(session: Session, shard: str, site: str, reason: str) -> None:
    """Expect a shard at a site no more, where nothing of it has come yet."""
    locked = locking.lock(session, Shard, shard)
    row = holdings.replica(session, shard, site)
    if row is not None and row.state == ReplicaState.PENDING:
        row.state, row.reason = ReplicaState.RETIRED, reason
        locked.dirty = True


def _accuse(session: Session, shard: str, site: str, now: datetime) -> None:
    """Have a copy read early once its site is cleared; until then its incident says it all."""
    row = holdings.replica(session, shard, site)
    if row is not None and row.state == ReplicaState.AVAILABLE:
        row.look_at = now


def _suspect(session: Session, shard: str, site: str, reason: str, now: datetime) -> Replica | None:
    row = holdings.replica(session, shard, site)
    if row is None or row.state != ReplicaState.AVAILABLE:
        return None
    row.state, row.reason, row.look_at = ReplicaState.SUSPECT, reason, now
    return row


def leave(session: Session, shard: str, site: str, reason: str, now: datetime) -> None:
    """Stop offering a replica that is about to be deleted; its bytes still take room."""
    row = holdings.replica(session, shard, site)
    if row is not None:
        row.state, row.reason, row.look_at = ReplicaState.LEAVING, reason, None
        row.proved_at, row.proved_by = None, None
        standing.recount(session, shard)
        transfers.nudge(session, site, now)


def stay(session: Session, shard: str, site: str, reason: str, now: datetime) -> None:
    """Keep a replica after all; it counts again once it was read."""
    row = holdings.replica(session, shard, site)
    if row is None or row.state != ReplicaState.LEAVING:
        return
    locking.lock(session, Shard, shard).dirty = True
    row.state, row.reason, row.look_at = ReplicaState.SUSPECT, reason, now + _LOOK_AGAIN
    good = standing.recount(session, shard).good
    want_verify(session, shard, site, reason, now, priority(row.state, good))
    transfers.nudge(session, site, now)  # its seeder may hold it again


def gone(session: Session, shard: str, site: str, reason: str) -> None:
    """Note that nothing of a shard is at a site any more, or ever was."""
    row = holdings.replica(session, shard, site)
    if row is not None:
        row.state, row.faulty, row.reason, row.look_at = ReplicaState.RETIRED, [], reason, None
        standing.recount(session, shard)


def only_wanted(session: Session, shard: str, site: str) -> bool:
    """Whether a site was to copy a shard and never began."""
    row = holdings.replica(session, shard, site)
    return row is not None and row.state == ReplicaState.PENDING


def prove(session: Session, shard: str, site: str, by: str, began: datetime, now: datetime) -> bool:
    """Note that another site read a whole piece of a copy; whether it was the first proof of it.

    What ``began`` before the copy was last verified says nothing of the copy that is there now.
    """
    row = holdings.replica(session, shard, site)
    if row is None or row.state != ReplicaState.AVAILABLE or (row.verified_at or now) > began:
        return False
    first = row.proved_at is None
    row.proved_at, row.proved_by = now, by
    return first


def disprove(session: Session, shard: str, site: str) -> None:
    """Take back the proof of a copy."""
    row = holdings.replica(session, shard, site)
    if row is not None:
        row.proved_at, row.proved_by = None, None


def disprove_all(session: Session, site: str) -> None:
    """Take back the proofs of all that a site holds."""
    for row in holdings.at_site(session, site):
        row.proved_at, row.proved_by = None, None


_UNPROVED = (
    select(Replica.id)
    .where(
        Replica.site_id == bindparam("site"),
        Replica.state == ReplicaState.AVAILABLE,
        col(Replica.proved_at).is_(None),
    )
    .limit(1)
)


def unproved(session: Session, site: str) -> bool:
    """Whether a site holds copies available that nobody has proved."""
    return session.exec(_UNPROVED, params={"site": site}).first() is not None


def tell_of_site(session: Session, site: str, failed: Sequence[str]) -> bool:
    """Whether files that failed, by id, tell of their site: a proved copy's, or none is proved."""
    proved = select(Replica.id).where(
        Replica.site_id == site,
        Replica.state == ReplicaState.AVAILABLE,
        col(Replica.proved_at).is_not(None),
    )
    among = proved.join(Artifact, col(Artifact.shard_id) == col(Replica.shard_id)).where(
        col(Artifact.id).in_(failed)
    )
    return not session.exec(proved.limit(1)).first() or bool(session.exec(among.limit(1)).first())


def want_verify(
    session: Session, shard: str, site: str, reason: str, now: datetime, priority: int = 0
) -> Transfer | None:
    """Have a shard's bytes read where they lie, unless that is under way.

    A reading that was given up is not made anew: it waits for a person, and its copy says so.
    """
    kinds = (TransferKind.VERIFY, TransferKind.COPY)  # a copy reads what is there, too
    if transfers.live(session, shard, site, kinds) is not None:
        return None
    if fixity.given_up(session, shard, site):
        copy = holdings.replica(session, shard, site)
        if copy is not None and _FOR_A_PERSON not in copy.reason:
            copy.reason = f"{reason}; {_FOR_A_PERSON}"
        return None
    row = session.get_one(Shard, shard)
    transfer = Transfer(
        kind=TransferKind.VERIFY,
        version_id=row.version_id,
        shard_id=shard,
        target_id=site,
        executor_id=site,
        size=row.size,
        priority=priority,
        reason=reason,
        created_at=now,
    )
    session.add(transfer)
    return transfer


def read_anew(session: Session, shard: str, site: str, reason: str, now: datetime) -> None:
    """Have what a superseded attempt brought read, unless nothing is to be there any more."""
    locking.lock(session, Shard, shard)
    row = holdings.replica(session, shard, site)
    retired = row is not None and row.state == ReplicaState.RETIRED
    if not retired and not session.get_one(Site, site).retired:
        want_verify(session, shard, site, reason, now)


def retire(session: Session, site: str, how: str, now: datetime) -> None:
    """Stop counting and offering all that a site holds that was retired, or was lost."""
    for row in sorted(holdings.at_site(session, site), key=lambda row: row.shard_id):
        locking.lock(session, Shard, row.shard_id).dirty = True
        row.state, row.look_at, row.troubled_at = ReplicaState.RETIRED, None, None
        row.reason = f"{site} was {how} {now:%Y-%m-%d}"
        standing.recount(session, row.shard_id)
