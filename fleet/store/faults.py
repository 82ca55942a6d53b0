"""Faults of sites as a whole, as conditions of statements."""

from sqlalchemy import ColumnElement, and_
from sqlmodel import col

from fleet.store.tables import Incident

JUDGED = "judged"  # the kind of an incident of the whole site; probes open those of their own kind


def judged() -> ColumnElement[bool]:
    """Whether an incident is one of its site as a whole, and has not ended."""
    return and_(col(Incident.kind) == JUDGED, col(Incident.ended_at).is_(None))
