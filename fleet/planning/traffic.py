"""What a site's, or a provider's, traffic usually is, for each hour of the week.

Rules this module keeps:

- Samples are of 15 minutes and stamped in UTC.  Moments are mapped to the hours of a zone, never
  back: an hour that a change of the clocks skips has no samples, one that it repeats has twice as
  many, and neither moves any other hour.
- An hour of one week counts by the 75th percentile of its samples, so that one burst does not make
  it busy; the weeks count by a moving average, the newest most.
- What was not measured moves nothing.  An hour that never was is taken for the mean of the same
  hour on other days.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

BIN: Final = timedelta(minutes=15)
HOURS: Final = 168
"""Hours of a week; 0 is Monday from midnight to one in the zone at hand."""
_PERCENTILE: Final = 0.75
_WEIGHT: Final = 0.35  # of the newest week in the moving average
_IN_COMMON: Final = 84  # hours that two weeks share before they are compared


@dataclass(frozen=True, slots=True)
class Sample:
    """The mean load of 15 minutes from ``start`` on, in any unit, without our own transfers."""

    start: datetime
    load: float


@dataclass(frozen=True, slots=True)
class Profile:
    """A usual week.

    Attributes:
        timezone: whose hours these are.
        hours: the load to expect in each of the 168, in the samples' unit; empty without samples.
        confidence: how alike one week is to the next (mean correlation, -1 to 1); None below two
            weeks.
        weeks: how many weeks have samples.
        measured: the share of the hours that were ever measured.
        newest: what the newest week that is at least half measured was, hour by hour.
    """

    timezone: str
    hours: tuple[float, ...] = ()
    confidence: float | None = None
    weeks: int = 0
    measured: float = 0.0
    newest: Mapping[int, float] | None = None


def hour_of_week(moment: datetime, zone: ZoneInfo) -> int:
    """Return the hour of the week that a clock on the wall shows at ``moment``."""
    local = moment.astimezone(zone)
    return local.weekday() * 24 + local.hour


def profile(samples: Iterable[Sample], timezone: str) -> Profile:
    """Make a zone's usual week of samples in any order.

    Raises:
        ZoneInfoNotFoundError: there is no such zone.
    """
    weeks = _weeks(samples, ZoneInfo(timezone))
    if not weeks:
        return Profile(timezone)
    usual: dict[int, float] = {}
    for week in weeks:
        for hour, load in week.items():
            usual[hour] = usual.get(hour, load) + _WEIGHT * (load - usual.get(hour, load))
    alike = [found for one, other in pairwise(weeks) if (found := _alike(one, other)) is not None]
    whole = [week for week in weeks if len(week) >= _IN_COMMON]
    return Profile(
        timezone=timezone,
        hours=_filled(usual),
        confidence=round(sum(alike) / len(alike), 3) if alike else None,
        weeks=len(weeks),
        measured=round(len(usual) / HOURS, 3),
        newest=whole[-1] if whole else None,
    )


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Pearson's correlation; 0 where one of both never changes."""
    mean, others = sum(one) / len(one), sum(other) / len(other)
    apart = [(a - mean, b - others) for a, b in zip(one, other, strict=True)]
    spread = math.sqrt(sum(a * a for a, _ in apart) * sum(b * b for _, b in apart))
    return sum(a * b for a, b in apart) / spread if spread else 0.0


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which ``share`` of them lie, between two of them if need be."""
    ranked = sorted(values)
    place = share * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (place - low) * (ranked[high] - ranked[low])


def _weeks(samples: Iterable[Sample], zone: ZoneInfo) -> list[dict[int, float]]:
    """Return each week's hours, the oldest week first; those without samples are left out."""
    found: dict[tuple[int, int], dict[int, list[float]]] = {}
    for sample in samples:
        local = sample.start.astimezone(zone)
        year, week, day = local.isocalendar()
        hours = found.setdefault((year, week), {})
        hours.setdefault((day - 1) * 24 + local.hour, []).append(sample.load)
    return [
        {hour: _typical(loads) for hour, loads in found[week].items()} for week in sorted(found)
    ]


def _typical(loads: list[float]) -> float:
    return sorted(loads)[int(_PERCENTILE * (len(loads) - 1))]  # of four the third


def _alike(one: Mapping[int, float], other: Mapping[int, float]) -> float | None:
    both = sorted(one.keys() & other.keys())
    if len(both) < _IN_COMMON:
        return None
    return correlation([one[hour] for hour in both], [other[hour] for hour in both])


def _filled(usual: Mapping[int, float]) -> tuple[float, ...]:
    everywhere = sum(usual.values()) / len(usual)

    def guess(hour: int) -> float:
        same = [usual[one] for one in range(hour % 24, HOURS, 24) if one in usual]
        return sum(same) / len(same) if same else everywhere

    return tuple(usual[hour] if hour in usual else guess(hour) for hour in range(HOURS))
