"""Named queries over bins of traffic and the usual weeks that are made of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, bindparam, delete, func, or_
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, select

from fleet.store.tables import Site, TrafficBin, Usual

_SUMS = ("bytes_in", "bytes_out", "seconds", "samples", "throttled", "latency_ms")


def add(session: Session, one: TrafficBin) -> None:
    """Count what was measured once more of a bin; others may do so at the same time."""
    fresh = _insert(session, TrafficBin).values(**one.model_dump())
    sums = {name: col(getattr(TrafficBin, name)) + fresh.excluded[name] for name in _SUMS}
    keys = ["subject", "observer", "start"]
    session.execute(fresh.on_conflict_do_update(index_elements=keys, set_=sums))


def bins(session: Session, subject: str, since: datetime) -> Sequence[TrafficBin]:
    """Return a subject's bins from a moment on, of all observers, the oldest first."""
    return session.exec(
        select(TrafficBin)
        .where(TrafficBin.subject == subject, col(TrafficBin.start) >= since)
        .order_by(col(TrafficBin.start), col(TrafficBin.observer))
    ).all()


def any_bin(session: Session, subject: str) -> bool:
    """Say whether anything is held of a subject."""
    found = session.exec(select(TrafficBin.start).where(TrafficBin.subject == subject)).first()
    return found is not None


def usual(session: Session, subject: str, now: datetime) -> Usual:
    """Return the row of a subject's usual week, made if this is the first that is heard of it."""
    fresh = _insert(session, Usual).values(**Usual(subject=subject, look_at=now).model_dump())
    session.execute(fresh.on_conflict_do_nothing())
    return session.get_one(Usual, subject)


_DUE = (
    select(Usual.subject)
    .join(Site, col(Site.id) == col(Usual.subject), isouter=True)
    .where(
        or_(
            col(Usual.look_at) <= bindparam("now"),
            col(Usual.derived_at).is_not(None) & (col(Usual.timezone) != col(Site.timezone)),
        )
    )
    .order_by(col(Usual.subject))
    .limit(bindparam("most", type_=Integer()))
)


def due(session: Session, now: datetime, limit: int) -> Sequence[str]:
    """Return the subjects whose week is due to be derived anew, or is of another zone."""
    return session.exec(_DUE, params={"now": now, "most": limit}).all()


def sweep(session: Session, subject: str, before: datetime) -> None:
    """Forget a subject's bins from before a moment."""
    session.exec(
        delete(TrafficBin).where(col(TrafficBin.subject) == subject, col(TrafficBin.start) < before)
    )


def weeks(session: Session) -> Sequence[Usual]:
    """Return all usual weeks."""
    return session.exec(select(Usual).order_by(col(Usual.subject))).all()


def throttled(session: Session) -> dict[str, int]:
    """Return how often each provider said that we ask too much, in the bins that are kept."""
    rows = session.exec(
        select(TrafficBin.subject, func.sum(TrafficBin.throttled)).group_by(col(TrafficBin.subject))
    ).all()
    return {subject: int(count) for subject, count in rows}


def _insert(session: Session, table: type[SQLModel]) -> Any:
    """Return the INSERT of this database that can say what happens if the row is there."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return dialect.insert(table)
