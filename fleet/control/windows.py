"""When sites carry bulk traffic: what is known of each, put to the pure decision.

``dispatch`` asks before a transfer is announced, ``leases`` at each heartbeat of one that runs.
"""

from datetime import datetime

from sqlalchemy import bindparam
from sqlmodel import Session, col, func, select

from fleet.control import facts
from fleet.planning.quiet import Quiet, choose
from fleet.planning.repair import URGENT
from fleet.planning.states import TransferKind
from fleet.planning.traffic import Profile
from fleet.planning.windows import Turn, Work
from fleet.planning.windows import turn as decide
from fleet.store import holdings, transfers
from fleet.store.tables import Budget, Site, SourceScore, Transfer, Usual

BULK = (TransferKind.INGEST, TransferKind.COPY, TransferKind.PUBLISH)
_UNMEASURED = 1_000_000.0  # bytes per second that a site counts on before it has fetched anything
_LOOKED_AT = 10


def of(session: Session, site: Site) -> Quiet | None:
    """Return a site's quiet hours; None if it keeps none."""
    row = session.get(Usual, site.id)
    learned = None if row is None or row.timezone != site.timezone else profile(row)
    doubt = "" if row is None else row.clock or row.shifted
    return choose(facts.windows(session, site.id), site.timezone, learned, doubt)


def profile(row: Usual) -> Profile:
    """Return a usual week as planning knows it."""
    return Profile(
        timezone=row.timezone,
        hours=tuple(row.hours),
        confidence=row.confidence,
        weeks=row.weeks,
        measured=row.measured,
        newest={int(hour): load for hour, load in row.newest.items()},
    )


def turn(session: Session, quiet: Quiet | None, transfer: Transfer, now: datetime) -> Turn:
    """Decide whether a transfer goes on now, or waits for quiet hours of its executor."""
    if quiet is None or transfer.kind not in BULK:
        return Turn(True, "")
    urgent = transfer.priority >= URGENT or _is_second(session, transfer)
    if transfer.deadline is None:
        return decide(quiet, now, Work(urgent=urgent))
    work = Work(
        urgent=urgent,
        deadline=transfer.deadline,
        left=transfers.bytes_due(session, transfer.executor_id, BULK, transfer.deadline),
        # of what has no size yet nobody can say that it fits
        bytes_per_second=_speed(session, transfer.executor_id) if transfer.size else 0.0,
    )
    return decide(quiet, now, work)


def _is_second(session: Session, transfer: Transfer) -> bool:
    """Whether a transfer makes an only good copy a second one: a night is long on one disk."""
    if transfer.kind != TransferKind.COPY or transfer.shard_id is None:
        return False
    return (
        holdings.good(session, transfer.shard_id) + transfers.copies_before(session, transfer) == 1
    )


def wanted(session: Session, quiet: Quiet | None, site: Site, now: datetime) -> bool:
    """Say whether work that may go on now waits for a slot that a paused transfer holds."""
    taken = transfers.taken(session, [site.id])
    if sum(taken[site.id, kind] for kind in transfers.BULK_KINDS) < site.slots:
        return False
    waiting = transfers.due(session, site.id, transfers.BULK_KINDS, _LOOKED_AT)
    return any(turn(session, quiet, one, now).goes for one in waiting)


_MEASURED = select(func.avg(SourceScore.bytes_per_second)).where(
    SourceScore.observer_id == bindparam("site"), col(SourceScore.bytes_per_second) > 0
)


def _speed(session: Session, site: str) -> float:
    """Return how fast a site fetches: the mean over the hosts it has had bytes from."""
    measured = session.exec(_MEASURED, params={"site": site}).one()
    budget = session.get(Budget, site)
    cap = budget.bytes_per_second if budget and budget.bytes_per_second else None
    speed = float(measured) if measured else _UNMEASURED
    return min(speed, cap) if cap else speed
