"""The press, as the tick sees it: what changed is gathered, and who writes is woken when it is due.

When that is, is ``fleet.planning.press``; who writes is the consumer, in ``printing``.
"""

from contextlib import suppress
from datetime import datetime, timedelta

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from fleet import wakeups
from fleet.control import issues
from fleet.control.causes import PRESS
from fleet.planning import press as planning
from fleet.settings import CentreSettings
from fleet.store import locking, untold
from fleet.store.database import Store
from fleet.store.tables import Press, Wakeup

_PAUSE = timedelta(seconds=5)  # between two looks at what was noted


def step(store: Store, settings: CentreSettings) -> bool:
    """Gather what changed, and wake who writes when that is due; whether more may be gathered."""
    with store.read() as session:
        now, row = store.now(session), session.get(Press, PRESS)
        gathered = row.gathered_at if row is not None else None
        fresh = (gathered is None or gathered + _PAUSE <= now) and untold.noted(session)
        due = row is not None and row.look_at is not None and row.look_at <= now
    if not (fresh or due):
        return False
    with store.write() as session:
        return _look(session, settings, store.now(session))


def _look(session: Session, settings: CentreSettings, now: datetime) -> bool:
    row = row_of(session)
    more = untold.gather(session, now)
    row.gathered_at = None if more else now
    moments = (planning.write_at(untold.span(session, now), row.again), mirror_at(session, now))
    due = min((one for one in moments if one is not None), default=None)
    lease = timedelta(seconds=settings.lease_seconds)
    if due is not None and row.woken_at is not None:
        due = max(due, row.woken_at + lease)
    if due is not None and due <= now:
        session.add(Wakeup(site_id="", task=wakeups.PRESS, created_at=now))
        row.woken_at, due = now, now + lease
    row.look_at = due
    return more


def mirror_at(session: Session, now: datetime) -> datetime | None:
    """Say when the next edition may be begun; None: not before something changes."""
    row = row_of(session)
    if row.signed == row.mirrored:
        return None
    under_way = issues.under_way(session) is not None
    return planning.mirror_at(row.begun, now, under_way=under_way)


def row_of(session: Session) -> Press:
    """Return the press's row, taken for this unit of work."""
    if session.get(Press, PRESS) is None:
        with suppress(IntegrityError), session.begin_nested():  # another one may be at it
            session.add(Press(id=PRESS))
    return locking.lock(session, Press, PRESS)
