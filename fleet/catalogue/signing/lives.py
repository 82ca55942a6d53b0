"""How long signed metadata lives, and when it is signed anew.  Pure.

Rules this module keeps:

- Whoever syncs can do so for 30 days after the centre was last heard of: what lives shortest is
  signed anew while it has 32 days left.
- Expiry falls on a midnight, so that what is signed on one day is the same bytes.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

ABSENCE = timedelta(days=30)
"""How long the centre may be gone, and clients still resolve."""


@dataclass(frozen=True, slots=True)
class Life:
    """How many days metadata is good for, and below how many it is signed anew."""

    days: int
    renewed_below: int


LIVES = {
    Root.type: Life(365, 90),
    Targets.type: Life(180, 90),
    Snapshot.type: Life(180, 90),
    Timestamp.type: Life(40, 32),
}


def expiry(role: str, now: datetime) -> datetime:
    """Return when metadata of ``role`` that is signed now expires."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=LIVES[role].days + 1)


def due(role: str, expires: datetime, now: datetime) -> bool:
    """Say whether metadata of ``role`` has to be signed anew."""
    return expires - now < timedelta(days=LIVES[role].renewed_below)
