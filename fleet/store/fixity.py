"""Named queries over what is to be read again, and over what went wrong at a site.

Each reads from an index as many rows as it returns, however many replicas there are; ``held`` and
``unread`` read all of one site's, and are asked once a day and once an incident.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, exists, func, or_, union_all
from sqlmodel import Session, col, select

from fleet.planning.fixity import PRESSING, RISKS
from fleet.planning.states import ReplicaState, TransferKind, TransferState
from fleet.store.tables import Replica, Shard, Site, Transfer
from fleet.store.transfers import LIVE

_THERE = (ReplicaState.AVAILABLE, ReplicaState.SUSPECT)
_SITE: BindParameter[str] = bindparam("site")
_LIMIT = bindparam("most", type_=sql.Integer())
_NOW: BindParameter[datetime] = bindparam("now")
_OLDEST: BindParameter[datetime] = bindparam("oldest")
_LATE: BindParameter[datetime] = bindparam("late")


_HERE = select(Replica.id).where(col(Replica.site_id) == col(Site.id))
_DUE_HERE = _HERE.where(col(Replica.look_at) <= _NOW)
_WAITS = _DUE_HERE.where(col(Replica.risk).in_(range(RISKS))).exists()
_PRESSES = _DUE_HERE.where(col(Replica.risk).in_(range(PRESSING))).exists()
_COUNTS = _HERE.where(col(Replica.state) == ReplicaState.AVAILABLE)
_IS_TOO_OLD = _COUNTS.where(col(Replica.verified_at) < _OLDEST).exists()
_IS_LATE = _COUNTS.where(col(Replica.verified_at) < _LATE, col(Replica.look_at) <= _NOW).exists()
_SITES_DUE = (
    sql.select(col(Site.id), _IS_TOO_OLD, or_(_PRESSES, _IS_LATE))
    .where(col(Site.retired).is_(False), or_(_IS_TOO_OLD, _WAITS))
    .order_by(col(Site.id))
)


class SiteDue(NamedTuple):
    """A site where a copy's time has come.

    Attributes:
        site: its id.
        outdated: whether one that counts is too old to.
        presses: whether one is due at the first levels of risk, or due and read long ago.
    """

    site: str
    outdated: bool
    presses: bool


def sites_due(
    session: Session, now: datetime, oldest: datetime, late: datetime
) -> Sequence[SiteDue]:
    """Return the sites where a copy's time has come, or one was last read before ``oldest``.

    What is due and was last read before ``late`` presses.
    """
    asked = {"now": now, "oldest": oldest, "late": late}
    return [SiteDue(*row) for row in session.execute(_SITES_DUE, asked)]


def _due_at(risk: int) -> Select[Any]:
    best = (
        select(Replica.shard_id, Replica.risk, Replica.look_at)
        .where(
            Replica.site_id == _SITE,
            Replica.risk == risk,
            col(Replica.look_at) <= _NOW,
            col(Replica.state).in_(_THERE),
        )
        .order_by(col(Replica.look_at))
        .limit(_LIMIT)
        .subquery()
    )
    return sql.select(best)


@cache
def _due(risks: int) -> Select[Any]:
    """Ask for each level of risk by itself: else all that is due would be read to be sorted."""
    each = union_all(*map(_due_at, range(risks))).subquery()
    return sql.select(each.c.shard_id).order_by(each.c.risk, each.c.look_at).limit(_LIMIT)


def due(session: Session, site: str, now: datetime, limit: int, risks: int = RISKS) -> list[str]:
    """Return the shards whose copies' time at a site has come, of the first levels of risk."""
    asked = {"site": site, "now": now, "most": limit}
    return list(session.execute(_due(risks), asked).scalars())


def unmarked(
    session: Session, site: str, mark: datetime, before: datetime, limit: int
) -> list[str]:
    """Return the shards whose copies at a site were not read since ``before``, risk first.

    Those whose ``look_at`` is ``mark`` were returned already and are passed over in the index.
    """
    found: list[str] = []
    for risk in range(RISKS):
        for rest in (col(Replica.look_at) < mark, col(Replica.look_at) > mark):
            found += session.exec(
                select(Replica.shard_id)
                .where(
                    Replica.site_id == site,
                    Replica.risk == risk,
                    rest,
                    col(Replica.state).in_(_THERE),
                    col(Replica.verified_at) < before,
                )
                .order_by(col(Replica.look_at))
                .limit(limit - len(found))
            ).all()
            if len(found) == limit:
                return found
    return found


def next_due(session: Session, site: str) -> datetime | None:
    """Return when the next copy at a site is to be read; None where none is."""
    moments = [
        session.exec(
            select(func.min(Replica.look_at)).where(
                Replica.site_id == site,
                Replica.risk == risk,
                col(Replica.state).in_(_THERE),
            )
        ).one()
        for risk in range(RISKS)
    ]
    return min((at for at in moments if at is not None), default=None)


_TOO_OLD = (
    select(Replica.shard_id)
    .where(
        Replica.site_id == _SITE,
        Replica.state == ReplicaState.AVAILABLE,
        col(Replica.verified_at) < _OLDEST,
    )
    .order_by(col(Replica.verified_at))
    .limit(_LIMIT)
)
_TOO_OLD_AND_DUE = _TOO_OLD.where(col(Replica.look_at) <= _NOW)


def too_old(
    session: Session, site: str, oldest: datetime, limit: int, due: datetime | None = None
) -> Sequence[str]:
    """Return the shards whose copies at a site count, and were last read before ``oldest``.

    With ``due``, only those that are due by then: of the others a reading is under way.
    """
    asked = {"site": site, "oldest": oldest, "most": limit}
    if due is None:
        return session.exec(_TOO_OLD, params=asked).all()
    return session.exec(_TOO_OLD_AND_DUE, params=asked | {"now": due}).all()


def _given_up() -> ColumnElement[bool]:
    """Whether the reading of a replica was given up after it was last read."""
    return exists().where(
        col(Transfer.shard_id) == col(Replica.shard_id),
        col(Transfer.target_id) == col(Replica.site_id),
        col(Transfer.kind) == TransferKind.VERIFY,
        col(Transfer.state) == TransferState.SUSPENDED,
        or_(
            col(Replica.verified_at).is_(None),
            col(Transfer.ended_at).is_(None),
            col(Transfer.ended_at) >= col(Replica.verified_at),
        ),
    )


_GIVEN_UP = select(Replica.id).where(
    Replica.shard_id == bindparam("shard"), Replica.site_id == _SITE, _given_up()
)


def given_up(session: Session, shard: str, site: str) -> bool:
    """Whether the reading of a copy was given up, and nobody has let it be tried again."""
    return session.exec(_GIVEN_UP, params={"shard": shard, "site": site}).first() is not None


def unreadable(session: Session, site: str, since: datetime, limit: int) -> Sequence[str]:
    """Return shards whose copies at a site count, unread since then: their reading was given up."""
    return session.exec(
        select(Replica.shard_id)
        .where(
            Replica.site_id == site,
            Replica.state == ReplicaState.AVAILABLE,
            col(Replica.verified_at) < since,
            _given_up(),
        )
        .order_by(col(Replica.shard_id))
        .limit(limit)
    ).all()


def any_unread(session: Session, site: str, since: datetime) -> bool:
    """Whether a site has copies, good or in doubt, that are yet to be read since a moment."""
    return any(
        session.exec(
            select(Replica.id)
            .where(
                Replica.site_id == site,
                Replica.state == state,
                col(Replica.verified_at) < since,
                ~_given_up(),
            )
            .limit(1)
        ).first()
        for state in _THERE
    )


def unread(session: Session, site: str, since: datetime) -> Iterator[str]:
    """Go through all copies at a site, by id, that are believed good and were not read since."""
    yield from session.exec(
        select(Replica.id)
        .where(
            Replica.site_id == site,
            Replica.state == ReplicaState.AVAILABLE,
            col(Replica.verified_at) < since,
        )
        .execution_options(yield_per=5000)
    )


_HELD = (
    select(func.sum(col(Shard.size)))
    .join(Replica, col(Replica.shard_id) == col(Shard.id))
    .where(Replica.site_id == _SITE, col(Replica.state).in_(_THERE))
)


def held(session: Session, site: str) -> int:
    """Sum the bytes of all that a site holds, good or in doubt."""
    return int(session.exec(_HELD, params={"site": site}).one() or 0)


_ANYBODY = select(Site.id)
_RUNNING_BY_SITE = (
    select(Transfer.target_id, func.count())
    .where(
        col(Transfer.state).in_(LIVE),
        col(Transfer.executor_id).in_(_ANYBODY),  # so that the queue's index is used
        col(Transfer.target_id).in_(bindparam("sites", expanding=True)),
        Transfer.kind == TransferKind.VERIFY,
    )
    .group_by(col(Transfer.target_id))
)


def running_by_site(session: Session, sites: Iterable[str]) -> Counter[str]:
    """Count the readings of each of some sites that somebody was told of and has not ended."""
    return Counter(dict(session.exec(_RUNNING_BY_SITE, params={"sites": list(sites)}).all()))


_RUNNING = (
    select(func.count())
    .select_from(Transfer)
    .where(
        col(Transfer.state).in_(LIVE),
        col(Transfer.executor_id).in_(_ANYBODY),
        Transfer.target_id == _SITE,
        Transfer.kind == TransferKind.VERIFY,
    )
)


def running(session: Session, site: str) -> int:
    """Count the readings of a site that somebody was told of and has not ended."""
    return session.exec(_RUNNING, params={"site": site}).one()


def troubled(session: Session, site: str, limit: int) -> Sequence[Replica]:
    """Return copies at a site that were found wrong or put in doubt, and not seen to since."""
    return session.exec(
        select(Replica)
        .where(Replica.site_id == site, col(Replica.troubled_at).is_not(None))
        .limit(limit)
    ).all()


def troubles(session: Session, site: str, limit: int) -> Sequence[datetime]:
    """Return when copies at a site were last found wrong or put in doubt, newest first."""
    rows = session.exec(
        select(Replica.troubled_at)
        .where(Replica.site_id == site, col(Replica.troubled_at).is_not(None))
        .order_by(col(Replica.troubled_at).desc())
        .limit(limit)
    ).all()
    return [at for at in rows if at is not None]


def read_right(session: Session, site: str, since: datetime, limit: int) -> int:
    """Count, up to ``limit``, the copies at a site that were read right again since a moment.

    One whose bytes came since then does not tell: a disk that lost the old ones takes new ones.
    """
    among = (
        select(Replica.id)
        .where(
            Replica.site_id == site,
            Replica.state == ReplicaState.AVAILABLE,
            col(Replica.verified_at) >= since,
            col(Replica.arrived_at) < since,
        )
        .limit(limit)
        .subquery()
    )
    return session.exec(select(func.count()).select_from(among)).one()
