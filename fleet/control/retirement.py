"""Retiring a site: what it holds counts no more, and its work goes to others.

Rules this module keeps:

- A site whose copies are needed is retired later: as long as a shard lacks ``min`` good copies at
  other sites, it stays a source and goes on with its work, but gets nothing new.
- What only it has is given up by nobody but a person, who says that the site is lost.
- Transfers are taken first, then versions, shards and what hangs on them, the site's row last; what
  was asked before is asked again once they are, or another unit of work would be overruled.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import bindparam
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import Session, col, select

from fleet.control import executors, gateways, incidents, probes, replicas, tombstones
from fleet.control.errors import RefusedError
from fleet.planning.states import TransferKind, TransferState
from fleet.store import drafting, locking, retiring, transfers
from fleet.store.database import Store
from fleet.store.tables import Site, Version

_log = structlog.get_logger()
LOST = "lost"  # what the sites file says of a site that will not come back
_LOOK_AGAIN = timedelta(minutes=10)
_NAMED = 5
_STAYS = "is to stay, as was said meanwhile"
_FAULTS = (DBAPIError, StaleDataError)  # as by a deadlock; what it changed was deleted meanwhile


_DUE = select(Site.id).where(col(Site.retiring) <= bindparam("now"))


def step(store: Store) -> bool:
    """Look at the sites that are to be retired; False when nothing was done about any."""
    with store.read() as session:
        due = session.exec(_DUE, params={"now": store.now(session)}).all()
    done = [_alone(look_at, store, site) for site in due]
    return True in done


def _alone(work: Callable[[Store, str], object], store: Store, site: str) -> bool:
    """Do a unit of work; one that came to nothing is for the next tick, and stops none after it."""
    try:
        work(store, site)
    except _FAULTS as error:
        _log.warning("site not retired", site=site, reason=_why_not(error))
        return False
    return True


def ask(store: Store, site: str, *, lost: bool) -> str:
    """Retire a site, or say what that waits for; a unit that came to nothing is tried once more.

    Raises:
        RefusedError: it came to nothing again, and only a person can say again that it is lost.
    """
    reason = ""
    for _ in range(2):
        try:
            return lose(store, site) if lost else _asked(store, site)
        except _FAULTS as error:
            reason = _why_not(error)
    if lost:
        raise RefusedError(f"could not be retired, apply the file again: {reason}")
    return f"could not be retired yet, the scheduler tries again: {reason}"


def _asked(store: Store, site: str) -> str:
    if look_at(store, site):
        return "retired"
    with store.read() as session:
        row = session.get_one(Site, site)
        if row.retiring is None:  # the scheduler was first, or another file says that it stays
            return "retired" if row.retired else _STAYS
        return waits(session, row)


def _why_not(error: DBAPIError | StaleDataError) -> str:
    """Say why a unit of work came to nothing; raise if the database is gone."""
    if not isinstance(error, DBAPIError):
        return str(error)
    if error.connection_invalidated:
        raise error
    return str(error.orig).partition("\n")[0]


def look_at(store: Store, site: str) -> bool:
    """Retire a site that is to be, once none of its copies is needed; whether it is retired.

    Of several each is a unit of work of its own, which takes its shards in the order all keep.
    """
    with store.write() as session:
        now, row = store.now(session), session.get_one(Site, site)
        if row.retiring is None:
            return row.retired
        fronted = gateways.fronted(session)
        if retiring.is_needed(session, site, fronted):
            retiring.note(session, site, retiring=now + _LOOK_AGAIN)
            return False
        _take(session, site, "retired", now)
        retired = not retiring.is_needed(session, site, fronted) and _retire(
            session, site, "retired", now
        )
        if not retired:
            session.rollback()
        return retired


def lose(store: Store, site: str) -> str:
    """Retire a site at once, for a person says that it is gone; say what went with it."""
    with store.write() as session:
        now, fronted = store.now(session), gateways.fronted(session)
        _take(session, site, LOST, now)
        _, lost = retiring.tally(session, site, fronted)
        among = retiring.datasets_lost(session, site, fronted, _NAMED + 1)
        if not _retire(session, site, LOST, now):
            session.rollback()
            return _STAYS
    if not lost:
        return "retired as lost; others have all that it held"
    more = " and others" if len(among) > _NAMED else ""
    return (
        f"retired as lost, with {_shards(lost)} of {', '.join(among[:_NAMED])}{more} that no other "
        "site has: only their origins may give them again"
    )


def clear(store: Store, site: str) -> None:
    """Take from a retired site what a unit of work gave it that had read it before that."""
    _alone(_clear, store, site)


def _clear(store: Store, site: str) -> None:
    with store.write() as session:
        now = store.now(session)
        _take(session, site, "retired", now)
        if not _retire(session, site, "retired", now):
            session.rollback()


def waits(session: Session, site: Site) -> str:
    """Say what a site that is to be retired waits for, and what a person can do."""
    needed, lost = retiring.tally(session, site.id, gateways.fronted(session))
    gives_up = f", and {_shards(lost)} that no other site has will be lost with it" if lost else ""
    silent = ", but it answers no wake-up" if site.silent else ""
    return (
        f"is retired once others have as many good copies of {_shards(needed)} as there must be; "
        f"until then keep it running{silent}; if it is gone for good, say `retired: {LOST}` in the "
        f"sites file and apply it{gives_up}"
    )


def _shards(number: int) -> str:
    return f"{number:,} shard{'' if number == 1 else 's'}"


def _take(session: Session, site: str, how: str, now: datetime) -> None:
    """End a site's transfers, and take its shards for this unit of work."""
    versions: set[str] = set()
    for transfer in transfers.of_site(session, site):
        transfers.withdraw_announced(session, transfer.id)
        if transfer.kind == TransferKind.PROBE and transfer.target_id != site:
            probes.rearm(session, transfer, now)
            continue
        if transfer.target_id != site and executors.take_back(session, transfer):
            transfers.withdraw_all(session, transfer.id, f"{site} was {how}")
            transfer.state = TransferState.WAITING
            continue
        transfer.state, transfer.ended_at = TransferState.CANCELLED, now
        transfer.reason = f"{site} was {how}"
        if transfer.kind == TransferKind.INGEST and transfer.version_id:
            for artifact in drafting.ingested_by(session, transfer.id):
                artifact.ingest_id = None
        if transfer.version_id:
            versions.add(transfer.version_id)
    for version in sorted(versions):
        locking.lock(session, Version, version).dirty = True
    locking.lock_shards_at(session, site)


def _retire(session: Session, site: str, how: str, now: datetime) -> bool:
    """Take a site out of everything else, unless it is to stay; nothing on its disks is touched."""
    replicas.retire(session, site, how, now)
    tombstones.forget_site(session, site)
    incident = incidents.of(session, site)
    if incident is not None:
        incident.ended_at, incident.look_at = now, None
    return retiring.note(session, site, retired=True, retiring=None)
