"""Time, from one injectable place.

In production it is the database's clock, so that a node or a second scheduler whose own clock is
wrong can neither lengthen nor shorten a lease.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy import text
from sqlmodel import Session


class Clock(Protocol):
    """Tells the time to whoever holds a session."""

    def now(self, session: Session) -> datetime:
        """Return the present moment, in UTC."""


class DatabaseClock:
    """The database's own clock."""

    def now(self, session: Session) -> datetime:
        """Return the present moment, in UTC, to the millisecond."""
        if session.get_bind().dialect.name == "sqlite":
            stamp = session.connection().scalar(text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')"))
            return datetime.fromisoformat(str(stamp)).replace(tzinfo=UTC)
        moment = session.connection().scalar(text("SELECT clock_timestamp()"))
        if not isinstance(moment, datetime):
            raise TypeError(f"the database answered {moment!r} when asked for the time")
        return moment.astimezone(UTC)


class VirtualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self, session: Session) -> datetime:  # noqa: ARG002 - the same call for every clock
        """Return the moment last set."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds``."""
        self._now += timedelta(seconds=seconds)
