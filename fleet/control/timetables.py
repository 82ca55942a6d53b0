"""What anybody is told of traffic: usual weeks, and the windows of the next two weeks."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.control import providers, windows
from fleet.control.errors import NotFoundError
from fleet.planning import timetable
from fleet.planning.providers import named
from fleet.planning.quiet import Quiet
from fleet.planning.windows import AHEAD, Span, upcoming
from fleet.store import traffic
from fleet.store.tables import Site, Usual


@dataclass(frozen=True)
class UsualWeek:
    """A usual week: ``hour_of_week`` has 168 loads from Monday's midnight on, or none yet.

    ``unit`` is what they are in: a site's bytes per second, a provider's milliseconds until it
    answers.  ``confidence`` is how alike one week is to the next.
    """

    timezone: str
    unit: str
    hour_of_week: tuple[float, ...]
    confidence: float | None
    weeks: int
    measured: float
    derived_at: datetime | None


@dataclass(frozen=True)
class SiteTraffic:
    """A site's usual week and quiet hours; without ``upcoming`` windows it keeps none.

    ``reason`` says where the windows come from, ``doubt`` why its clock is not trusted.
    """

    site: str
    usual: UsualWeek | None
    reason: str
    doubt: str
    upcoming: tuple[Span, ...]
    bwlimit: str


@dataclass(frozen=True)
class ProviderTraffic:
    """How quick a provider answers, and how often it said that we ask too much of late."""

    host: str
    usual: UsualWeek | None
    throttled: int


@dataclass(frozen=True)
class Traffic:
    """All of it; moments are UTC."""

    generated_at: datetime
    sites: tuple[SiteTraffic, ...]
    providers: tuple[ProviderTraffic, ...]


def all_of(session: Session, now: datetime) -> Traffic:
    """Tell of every site that is not retired, and of every provider's hosts: of no others."""
    rows = {row.subject: row for row in traffic.weeks(session)}
    sites = session.exec(select(Site).order_by(Site.id)).all()
    throttled = traffic.throttled(session)
    known, limits = {site.id for site in sites}, providers.every(session)
    return Traffic(
        now,
        tuple(_site(session, site, now) for site in sites if not site.retired),
        tuple(
            ProviderTraffic(name, _week(row, "milliseconds"), throttled.get(name, 0))
            for name, row in rows.items()
            if name not in known and named(name, limits)
        ),
    )


def of_site(session: Session, name: str, now: datetime) -> SiteTraffic:
    """Tell of one site.

    Raises:
        NotFoundError: there is no such site.
    """
    site = session.exec(select(Site).where(col(Site.id) == name)).one_or_none()
    if site is None:
        raise NotFoundError(f"there is no site {name!r}; `fleet site list` names them")
    return _site(session, site, now)


def calendar(session: Session, name: str, now: datetime) -> str:
    """Write one site's windows as an iCalendar file.

    Raises:
        NotFoundError: there is no such site, or it keeps no quiet hours.
    """
    found = of_site(session, name, now)
    if not found.upcoming:
        raise NotFoundError(f"{found.site} has no windows to come: {found.reason}")
    return timetable.calendar(found.site, found.upcoming, found.reason, now)


def _site(session: Session, site: Site, now: datetime) -> SiteTraffic:
    quiet, row = windows.of(session, site), session.get(Usual, site.id)
    return SiteTraffic(
        site=site.id,
        usual=_week(row, "bytes_per_second"),
        reason=quiet.reason if quiet else "no quiet hours are kept here",
        doubt=(row.clock or row.shifted) if row else "",
        upcoming=_upcoming(quiet, now),
        bwlimit=timetable.bwlimit(quiet),
    )


def _upcoming(quiet: Quiet | None, now: datetime) -> tuple[Span, ...]:
    if quiet is None:
        return ()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    found = upcoming(quiet, midnight - timedelta(days=1), now + AHEAD)
    return tuple(span for span in found if span.closes > now)


def _week(row: Usual | None, unit: str) -> UsualWeek | None:
    if row is None or row.derived_at is None:
        return None
    return UsualWeek(
        timezone=row.timezone or "UTC",
        unit=unit,
        hour_of_week=tuple(round(load, 1) for load in row.hours),
        confidence=row.confidence,
        weeks=row.weeks,
        measured=row.measured,
        derived_at=row.derived_at,
    )
