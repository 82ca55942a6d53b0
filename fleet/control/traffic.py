"""Traffic of sites and providers: bins come in, and a usual week is derived of them once a week.

Rules this module keeps:

- A report under a clock that is off is not kept, but told of: the site keeps fixed hours until one
  comes under a right clock.
- A bin that was told before is not counted twice.
- What an outcome says of a provider's host is laid over the bins in which its attempt ran.  Other
  hosts are not kept: anybody may read what is, and theirs may be private addresses.
- Of a site counts only what it measured itself.
- Bins are kept for eight weeks, which is all that a usual week is made of.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlmodel import Session

from fleet.control import providers, windows
from fleet.messages import Outcome, TrafficReport
from fleet.planning import clocks
from fleet.planning.providers import named
from fleet.planning.traffic import BIN, Profile, Sample, profile
from fleet.store import traffic
from fleet.store.database import Store
from fleet.store.tables import Observation, Site, TrafficBin, Usual

KEPT = timedelta(weeks=8)
_DERIVE = timedelta(weeks=1)
_SOON = timedelta(days=1)  # while little is known
_LONGEST = timedelta(days=7)  # of an attempt, as far as its bytes are laid over bins
_AT_ONCE = 20
_TENTH = BIN.total_seconds() / 10  # of a bin: less of it says little of the rest


def report(store: Store, site: str, told: TrafficReport) -> None:
    """Keep what a site's seeder measured, unless its clock is off."""
    with store.write() as session:
        now = store.now(session)
        row = traffic.usual(session, site, now)
        doubt = clocks.skewed((told.sent_at - now).total_seconds())
        if doubt != row.clock:
            detail = {"reason": doubt or "its clock is right again"}
            session.add(Observation(kind="clock", observer="", site_id=site, at=now, detail=detail))
            row.clock = doubt
        if doubt:
            return
        for one in told.bins:
            start = _bin_of(one.start)
            if start == one.start and now - KEPT < start <= now:
                held = TrafficBin(
                    subject=site,
                    observer=site,
                    start=start,
                    bytes_in=one.bytes_in,
                    bytes_out=one.bytes_out,
                    seconds=one.seconds,
                    samples=1,
                )
                session.merge(held)


def note(session: Session, outcome: Outcome, now: datetime) -> None:
    """Keep what an outcome says of the providers' hosts that it had bytes from."""
    if not outcome.sources:
        return
    limits = providers.every(session)
    took = min(outcome.ended_at - outcome.started_at, _LONGEST)
    for source in sorted(outcome.sources, key=lambda one: one.host):
        if not source.requests or named(source.host, limits) is None:
            continue
        if session.get(Site, source.host) is not None:  # a host that is called as a site is
            continue
        traffic.usual(session, source.host, now)
        measured = source.latency_ms is not None
        for start, share in _shares(now - max(took, timedelta()), now):
            traffic.add(
                session,
                TrafficBin(
                    subject=source.host,
                    observer=outcome.site,
                    start=start,
                    bytes_in=int(source.bytes * share),
                    seconds=source.seconds * share,
                    samples=int(measured),
                    throttled=source.throttled if start == _bin_of(now) else 0,
                    latency_ms=source.latency_ms or 0.0,
                ),
            )


def step(store: Store) -> bool:
    """Derive the usual weeks that are due; False when none was."""
    with store.read() as session:
        due = traffic.due(session, store.now(session), _AT_ONCE)
    for subject in due:
        with store.read() as session:  # thousands of bins: nobody's heartbeat shall wait for them
            learned = _learn(session, subject, store.now(session))
        with store.write() as session:
            _keep(session, subject, learned, store.now(session))
    return bool(due)


def _learn(session: Session, subject: str, now: datetime) -> Profile:
    """Make a subject's usual week of its bins, in its own zone if it has one."""
    site = session.get(Site, subject)
    held = traffic.bins(session, subject, now - KEPT)
    own = [one for one in held if site is None or one.observer == subject]
    samples = (_sample(one, of_site=site is not None) for one in own)
    zone = site.timezone if site else ""
    return profile((one for one in samples if one is not None), zone or "UTC")


def _keep(session: Session, subject: str, learned: Profile, now: datetime) -> None:
    traffic.sweep(session, subject, now - KEPT)
    row, site = traffic.usual(session, subject, now), session.get(Site, subject)
    if site is None and not learned.weeks and not traffic.any_bin(session, subject):
        session.delete(row)
        return
    row.timezone = learned.timezone if site and site.timezone else ""
    row.hours, row.weeks, row.measured = list(learned.hours), learned.weeks, learned.measured
    row.newest = {str(hour): load for hour, load in (learned.newest or {}).items()}
    row.confidence = learned.confidence
    row.shifted = _shifted(session, row, site) if site else ""
    row.derived_at = now
    row.look_at = now + (_DERIVE if learned.weeks > 2 else _SOON)


def _sample(one: TrafficBin, *, of_site: bool) -> Sample | None:
    """Return a site's mean load in bytes per second, or a provider's mean latency in ms."""
    if of_site:
        fits = one.seconds >= _TENTH
        return Sample(one.start, (one.bytes_in + one.bytes_out) / one.seconds) if fits else None
    return Sample(one.start, one.latency_ms / one.samples) if one.samples else None


def _shifted(session: Session, row: Usual, site: Site) -> str:
    """Hold a site's week against those of its provider's and its region's other sites."""
    if not site.timezone:
        return ""
    neighbours = []
    for other in traffic.weeks(session):
        near = session.get(Site, other.subject)
        if near is None or near.id == site.id or not near.timezone or other.clock:
            continue
        if (site.provider and near.provider == site.provider) or (
            site.region and near.region == site.region
        ):
            neighbours.append(windows.profile(other))
    return clocks.shifted(windows.profile(row), neighbours)


def _shares(began: datetime, ended: datetime) -> Iterator[tuple[datetime, float]]:
    """Yield the bins that a stretch of time touches, and which share of it lies in each."""
    whole = (ended - began).total_seconds()
    start = _bin_of(began)
    while start <= ended:
        within = min(ended, start + BIN) - max(began, start)
        yield start, within.total_seconds() / whole if whole else 1.0
        start += BIN


def _bin_of(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute - moment.minute % 15, second=0, microsecond=0)
