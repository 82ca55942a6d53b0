"""What each site holds and has yet to do, in bytes, without counting what is there.

``held``: the copies that are or shall be there (all but bad, missing and retired ones), and the
files that an ingest has brought or was told to bring there and that are in no shard yet; those of
unknown size are reckoned at 8 MiB.  ``queued``: the transfers that it carries out and that have
not ended.  Triggers note each change; see migration 0006.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert
from sqlmodel import Session, col, select

from fleet.store.tables import SiteLoad

_FOLD_FROM = 500  # rows to add up; fewer are summed in a millisecond
_FOLD_MOST = 20_000  # at once: of many that were noted while nobody ticked, some at each tick


@dataclass(frozen=True, slots=True)
class Load:
    """One site's sums, in bytes."""

    held: int = 0
    queued: int = 0


_SUMS = select(SiteLoad.site_id, func.sum(SiteLoad.held), func.sum(SiteLoad.queued)).group_by(
    SiteLoad.site_id
)
_MANY = select(SiteLoad.id).offset(_FOLD_FROM - 1).limit(1)


def loads(session: Session) -> dict[str, Load]:
    """Return what each site holds and has to do; sites with neither are left out."""
    rows = session.exec(_SUMS).all()
    return {site: Load(int(held), int(queued)) for site, held, queued in rows}


def worth_folding(session: Session) -> bool:
    """Whether so many changes were noted that they should be added up."""
    return session.exec(_MANY).first() is not None


_FOLDED = (
    delete(SiteLoad)
    .where(col(SiteLoad.id).in_(select(SiteLoad.id).order_by(col(SiteLoad.id)).limit(_FOLD_MOST)))
    .returning(col(SiteLoad.site_id), col(SiteLoad.held), col(SiteLoad.queued))
)


def fold(session: Session) -> None:
    """Put one row for each site in place of those that are there, the oldest first.

    What others note meanwhile stays as it is; of two that fold at once each adds up other rows.
    """
    sums: dict[str, dict[str, Any]] = {}
    for site, held, queued in session.connection().execute(_FOLDED):
        row = sums.setdefault(site, {"site_id": site, "held": 0, "queued": 0})
        row["held"] += held
        row["queued"] += queued
    if sums:
        session.connection().execute(insert(SiteLoad), list(sums.values()))
