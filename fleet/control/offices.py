"""Roles of the centre that one process holds at a time, by a lease in the database."""

from datetime import datetime, timedelta

from sqlmodel import Session, select

from fleet.store.tables import Office

SCHEDULER, SERVER = "scheduler", "server"


def hold(session: Session, role: str, holder: str, seconds: float, now: datetime) -> bool:
    """Take or keep ``role`` for ``seconds``; False while somebody else holds it."""
    office = session.exec(select(Office).where(Office.role == role).with_for_update()).one_or_none()
    until = now + timedelta(seconds=seconds)
    if office is None:
        session.add(Office(role=role, holder=holder, since=now, until=until))
        return True
    if office.holder != holder:
        if office.until > now:
            return False
        office.holder, office.since = holder, now
    elif office.until < now:
        office.since = now  # it slept through its own lease: to others it was away
    office.until = until
    return True


def leases_may_expire(session: Session, now: datetime, lease: float) -> bool:
    """Say whether workers had two whole leases to renew theirs since the centre came back."""
    settled = timedelta(seconds=2 * lease)
    for role in (SCHEDULER, SERVER):
        office = session.get(Office, role)
        if office is None or office.until < now or office.since + settled > now:
            return False
    return True
