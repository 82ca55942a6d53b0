"""Faults of sites as a whole, as conditions of statements."""

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlmodel import col

from fleet.planning.states import ReplicaState
from fleet.store.tables import Incident, Replica

JUDGED = "judged"  # the kind of an incident of the whole site; probes open those of their own kind


def judged() -> ColumnElement[bool]:
    """Whether an incident is one of its site as a whole, and has not ended."""
    return and_(col(Incident.kind) == JUDGED, col(Incident.ended_at).is_(None))


def counts(copy: type[Replica] = Replica) -> ColumnElement[bool]:
    """Whether a copy counts: available, and read since its site came to be at fault, if it is.

    ``fleet.control.standing`` decides the same of rows.
    """
    unread = exists().where(
        col(Incident.site_id) == col(copy.site_id),
        judged(),
        or_(col(copy.verified_at).is_(None), col(copy.verified_at) < col(Incident.began_at)),
    )
    return and_(col(copy.state) == ReplicaState.AVAILABLE, ~unread.correlate(copy))
