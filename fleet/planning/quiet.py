"""Which hours of a week are a site's quiet ones.

Rules this module keeps:

- Windows that an admin declared win over all that was learned.
- Hours are learned from the usual week of the site's traffic: a window begins where it falls below
  its 35th percentile and ends where it rises above its 45th, so that it does not flutter; it lasts
  three hours at least.  The walk begins at the busiest hour, so that no window is cut in two.
- Midnight to six by the site's own clock is right for most sites and needs no measurements.  It is
  used where it met less of the newest week's busiest quarter of hours than what was learned, while
  there are fewer than two weeks, and while the site's clock is in doubt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fleet.planning.facts import WindowFacts
from fleet.planning.traffic import HOURS, Profile, quantile

OPENS, CLOSES = "00:00", "06:00"
_FIXED: Final = frozenset(day * 24 + hour for day in range(7) for hour in range(6))
_ENTER, _LEAVE = 0.35, 0.45
_BUSY: Final = 0.75
_SHORTEST: Final = 3
_WEEKS: Final = 2
_MEASURED: Final = 0.75  # of the hours of the week


@dataclass(frozen=True, slots=True)
class Quiet:
    """A site's quiet hours and why they are these: ``daily`` ones, or ``hours`` of the week.

    ``loads`` is how busy each hour of the week is, where ``hours`` were learned from it.
    """

    reason: str
    daily: tuple[WindowFacts, ...] = ()
    timezone: str = ""
    hours: frozenset[int] = frozenset()
    loads: tuple[float, ...] = ()


def choose(
    declared: Iterable[WindowFacts], timezone: str, learned: Profile | None, doubt: str = ""
) -> Quiet | None:
    """Choose a site's quiet hours.

    Args:
        declared: the windows of its line in the sites file.
        timezone: its zone; empty where nobody named one.
        learned: its usual week, in its zone.
        doubt: why its clock is not trusted; empty if it is.

    Returns:
        None for a site with neither windows nor a zone: it may carry bulk traffic at any time.
    """
    if windows := tuple(declared):
        return Quiet("declared in the sites file", windows)
    if not timezone:
        return None
    if doubt:
        return _fixed(timezone, doubt)
    if learned is None or learned.weeks < _WEEKS or learned.measured < _MEASURED:
        return _fixed(timezone, "its traffic was measured for less than two weeks")
    if _worse(learned):
        return _fixed(timezone, "what its traffic shows did no better in the newest week")
    weeks = f"learned from {learned.weeks} weeks of its traffic"
    return Quiet(weeks, (), timezone, quiet_hours(learned.hours), learned.hours)


def quiet_hours(hours: Sequence[float]) -> frozenset[int]:
    """Return the quiet hours of a usual week; none where the load never changes."""
    low, high = quantile(hours, _ENTER), quantile(hours, _LEAVE)
    busiest = max(range(HOURS), key=lambda hour: hours[hour])
    found: set[int] = set()
    run: list[int] = []
    for step in range(HOURS + 1):  # back at the busiest hour, the last window has ended
        hour = (busiest + step) % HOURS
        if hours[hour] <= high if run else hours[hour] < low:
            run.append(hour)
            continue
        if len(run) >= _SHORTEST:
            found.update(run)
        run = []
    return frozenset(found)


def _worse(learned: Profile) -> bool:
    """Say whether fixed hours would have met less of the newest week's busiest quarter."""
    if not learned.newest:
        return False
    bound = quantile(learned.newest.values(), _BUSY)
    busy = frozenset(hour for hour, load in learned.newest.items() if load > bound)
    hours = quiet_hours(learned.hours)
    met, fixed = len(hours & busy) / max(len(hours), 1), len(_FIXED & busy) / len(_FIXED)
    return met > fixed or (met == fixed and len(hours) < len(_FIXED))


def _fixed(timezone: str, why: str) -> Quiet:
    daily = (WindowFacts(timezone, OPENS, CLOSES),)
    return Quiet(f"{OPENS} to {CLOSES} by the clock, because {why}", daily)
