"""When a site may carry bulk traffic, and whether one piece of work waits for that.

Rules this module keeps:

- Quiet hours are hours of the clock on the wall: moments are mapped to them day by day, so a
  change of the clocks moves them with the people whose quiet hours they are.  A time of day that
  it skips is the moment of the change; hours that it skips as a whole do not come that day.
- Work that is urgent never waits.  Work with a deadline waits only as long as what is left, with
  all that is due before it, fits into 0.8 of what can be done in windows until then.  What does not
  fit goes on outside them, in the least busy hours before the deadline that are enough for it;
  at once where nobody knows which those are.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from fleet.planning.facts import WindowFacts
from fleet.planning.quiet import Quiet
from fleet.planning.traffic import hour_of_week

AHEAD: Final = timedelta(days=14)
"""How far windows are told in advance."""
_GUARD: Final = 0.8
_QUARTER: Final = timedelta(minutes=15)
_HOUR: Final = timedelta(hours=1)
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=8)  # and a day more: within it there are all windows that there are


@dataclass(frozen=True, slots=True)
class Span:
    """A window in UTC; ``timezone`` is whose clock it follows."""

    opens: datetime
    closes: datetime
    timezone: str


@dataclass(frozen=True, slots=True)
class Work:
    """What shall be done.

    Attributes:
        urgent: whether its priority says now.
        deadline: when it must be done; None: it may take its time.
        left: its bytes that are left, and those of all that is due before it at the same site.
        bytes_per_second: how fast the site gets them.
    """

    urgent: bool = False
    deadline: datetime | None = None
    left: int = 0
    bytes_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether work goes on now, why, and when that may change (None: never)."""

    goes: bool
    reason: str
    until: datetime | None = None


def turn(quiet: Quiet | None, now: datetime, work: Work) -> Turn:
    """Decide whether bulk work goes on at ``now`` or waits for a window."""
    if quiet is None:
        return Turn(True, "no quiet hours are kept here")
    if work.urgent:
        return Turn(True, "its priority does not wait for the quiet hours")
    ahead = upcoming(quiet, now, max(now + _WEEK, min(work.deadline or now, now + AHEAD)))
    if not ahead:
        return Turn(True, "no quiet hours come", now + _WEEK)
    first = ahead[0]
    if first.opens <= now:
        return Turn(True, f"in the quiet hours until {_local(first.closes, first)}", first.closes)
    if work.deadline is not None:
        room = sum(_seconds(window, now, work.deadline) for window in ahead)
        needed = work.left / work.bytes_per_second / _GUARD if work.bytes_per_second else math.inf
        if needed > room:
            return _outside(quiet, now, work.deadline, needed - room, first)
    why = f"waits for the quiet hours from {_local(first.opens, first)}, {quiet.reason}"
    # what comes with an earlier deadline may fill the windows meanwhile
    return Turn(False, why, first.opens if work.deadline is None else min(first.opens, now + _HOUR))


def _outside(quiet: Quiet, now: datetime, deadline: datetime, short: float, window: Span) -> Turn:
    """Decide for work that needs ``short`` seconds outside the windows before its deadline."""
    why = f"the quiet hours before its deadline ({deadline:%Y-%m-%d %H:%M} UTC) are too short"
    at_once = Turn(True, f"{why}: it goes on outside them", window.opens)
    if not quiet.loads:
        return at_once
    hours = [
        (quiet.loads[hour], span.opens, span)
        for span, hour in _hours(quiet.timezone, now, deadline)
        if hour not in quiet.hours
    ]
    chosen: list[Span] = []
    for _, _, span in sorted(hours, key=lambda one: one[:2]):
        if short <= 0:
            break
        chosen.append(span)
        short -= _seconds(span, now, deadline)
    first = min(chosen, key=lambda span: span.opens, default=None)
    if short > 0 or first is None:
        return at_once
    if first.opens <= now:
        return Turn(True, f"{why}: it goes on in the least busy hours outside them", first.closes)
    until = min(first, window, key=lambda span: span.opens)
    why = f"{why}; it waits for less busy ones from {_local(until.opens, until)}"
    return Turn(False, why, min(until.opens, now + _HOUR))


def upcoming(quiet: Quiet, now: datetime, until: datetime) -> tuple[Span, ...]:
    """List the windows that are open between both moments, in order, none touching another."""
    if quiet.daily:
        found = (span for window in quiet.daily for span in spans(window, now, until))
    else:
        found = (span for span, hour in _hours(quiet.timezone, now, until) if hour in quiet.hours)
    merged: list[Span] = []
    for span in sorted(found, key=lambda span: span.opens):
        if span.closes <= now or span.opens >= until or span.opens == span.closes:
            continue
        if merged and span.opens <= merged[-1].closes:
            closes = max(merged[-1].closes, span.closes)
            merged[-1] = Span(merged[-1].opens, closes, merged[-1].timezone)
        else:
            merged.append(span)
    return tuple(merged)


def spans(window: WindowFacts, now: datetime, until: datetime | None = None) -> tuple[Span, ...]:
    """List the windows of a daily one, from yesterday's on.

    It ends two days after ``until`` (none: ``now``): a change of the clocks may skip a day's.
    """
    zone = ZoneInfo(window.timezone)
    first, last = now.astimezone(zone).date(), (until or now).astimezone(zone).date()
    return _daily(window, first - _DAY, last + 2 * _DAY)


@lru_cache(maxsize=1024)
def _daily(window: WindowFacts, first: date, last: date) -> tuple[Span, ...]:
    """List a window of each day: the same is asked all day long, for all work of a site."""
    opens, closes = time.fromisoformat(window.opens), time.fromisoformat(window.closes)
    found, day = [], first
    while day <= last:
        ends = day if closes > opens else day + _DAY
        zone = window.timezone
        found.append(Span(_moment(day, opens, zone), _moment(ends, closes, zone), zone))
        day += _DAY
    return tuple(found)


@lru_cache(maxsize=1024)
def _moment(day: date, at: time, timezone: str) -> datetime:
    """Return when a clock on the wall shows ``at``, or skips it; the first time if twice."""
    zone = ZoneInfo(timezone)
    local = datetime.combine(day, at, zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    before = local.replace(fold=1).astimezone(UTC)
    after = moment.astimezone(zone).utcoffset()
    minutes = range((moment - before) // _MINUTE)
    return before + _MINUTE * bisect_left(
        minutes,
        True,
        key=lambda one: (before + _MINUTE * one).astimezone(zone).utcoffset() == after,
    )


def _hours(timezone: str, now: datetime, until: datetime) -> Iterator[tuple[Span, int]]:
    """Yield each stretch of one hour of a zone's clock, and which hour of the week it is."""
    day = now.astimezone(UTC).date()
    while day <= until.astimezone(UTC).date():
        for span, hour in _day(timezone, day):
            if span.closes > now and span.opens < until:
                yield span, hour
        day += _DAY


@lru_cache(maxsize=1024)
def _day(timezone: str, day: date) -> tuple[tuple[Span, int], ...]:
    """Cut a day of UTC into stretches: to map one is slow, and every decision asks for several."""
    zone = ZoneInfo(timezone)
    at = datetime.combine(day, time(), UTC)
    end = at + _DAY
    found = []
    while at < end:
        local = at.astimezone(zone)
        ends = min(end, at + _HOUR - timedelta(minutes=local.minute, seconds=local.second))
        if ends.astimezone(zone).utcoffset() != local.utcoffset():
            ends = at + _QUARTER  # clocks change at a full quarter of an hour
        found.append((Span(at, ends, timezone), hour_of_week(at, zone)))
        at = ends
    return tuple(found)


def _seconds(window: Span, now: datetime, deadline: datetime) -> float:
    return max(0.0, (min(window.closes, deadline) - max(window.opens, now)).total_seconds())


def _local(moment: datetime, span: Span) -> str:
    return f"{moment.astimezone(ZoneInfo(span.timezone)):%H:%M} ({span.timezone})"
