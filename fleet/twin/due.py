"""Whether the scheduler has something to do, and when next: the twin need not ask every second.

The statements are made once, and ask for nothing but moments.
"""

from datetime import datetime, timedelta

from sqlalchemy import bindparam, exists, func, or_, select, union_all
from sqlmodel import Session, col

from fleet.planning.states import AttemptState, TransferState, VersionState
from fleet.settings import CentreSettings
from fleet.store.columns import UtcDateTime
from fleet.store.tables import (
    Attempt,
    Incident,
    Placement,
    Replica,
    Rule,
    Shard,
    Site,
    Tombstone,
    Transfer,
    Version,
)

_NOW = bindparam("now", type_=UtcDateTime())
_UNCLAIMED_SINCE = bindparam("unclaimed_since", type_=UtcDateTime())
_LOOKED_AT = [
    col(moment)
    for moment in (
        Replica.look_at,
        Placement.look_at,
        Rule.look_at,
        Tombstone.look_at,
        Incident.look_at,
        Site.retiring,
    )
]

_ANYTHING = select(
    or_(
        exists().where(or_(col(Version.dirty).is_(True), col(Version.look_at) <= _NOW)),
        exists().where(
            col(Shard.dirty).is_(True),
            col(Version.id) == col(Shard.version_id),
            col(Version.state) != VersionState.DRAFT,
        ),
        *(exists().where(moment <= _NOW) for moment in _LOOKED_AT),
        exists().where(
            col(Transfer.state) == TransferState.WAITING,
            or_(col(Transfer.not_before).is_(None), col(Transfer.not_before) <= _NOW),
        ),
        exists().where(col(Attempt.state) == AttemptState.RUNNING, col(Attempt.lease_until) < _NOW),
        exists().where(
            col(Attempt.state) == AttemptState.ANNOUNCED,
            col(Attempt.announced_at) < _UNCLAIMED_SINCE,
        ),
    )
)
_NEXT = union_all(
    select(func.min(col(Version.look_at))).where(col(Version.look_at) > _NOW),
    *(select(func.min(moment)).where(moment > _NOW) for moment in _LOOKED_AT),
    select(func.min(col(Transfer.not_before))).where(
        col(Transfer.state) == TransferState.WAITING, col(Transfer.not_before) > _NOW
    ),
    select(func.min(col(Attempt.lease_until))).where(col(Attempt.state) == AttemptState.RUNNING),
)
_UNCLAIMED = select(func.min(col(Attempt.announced_at))).where(
    col(Attempt.state) == AttemptState.ANNOUNCED
)


def anything(session: Session, settings: CentreSettings, now: datetime) -> bool:
    """Say whether a tick would find something that is dirty or due."""
    since = now - timedelta(seconds=settings.lease_seconds)
    parameters = {"now": now, "unclaimed_since": since}
    return bool(session.execute(_ANYTHING, parameters).scalars().first())


def next_at(session: Session, settings: CentreSettings, now: datetime) -> datetime | None:
    """Return the next moment at which something is due; None if nothing is."""
    times = list(session.execute(_NEXT, {"now": now}).scalars())
    unclaimed = session.execute(_UNCLAIMED).scalars().first()
    if unclaimed is not None:
        times.append(unclaimed + timedelta(seconds=settings.lease_seconds))
    return min((one for one in times if one is not None), default=None)
