"""Whether the hours that a site's traffic is filed under can be its hours.

A node whose clock, or whose zone in the sites file, is wrong puts its quiet hours where its users
are busiest.  Rules this module keeps:

- A clock that differs from the centre's by more than five minutes is not trusted.
- A usual week that fits those of the site's neighbours much better when it is shifted by two hours
  or more is not trusted, as long as there are two neighbours at least and they agree with each
  other: of two that differ nobody knows which is right.
- What is doubted is told with its figures; the site then keeps fixed hours by the centre's clock.
"""

import math
from collections.abc import Sequence
from typing import Final

from fleet.planning.traffic import HOURS, Profile, correlation

SKEW_SECONDS: Final = 300.0
_LAGS: Final = range(-12, 13)
_SHIFTED: Final = 2  # hours
_BETTER: Final = 0.15  # of correlation
_ALIKE: Final = 0.6
_NEIGHBOURS: Final = 2


def skewed(seconds: float) -> str:
    """Say why a clock that is ``seconds`` ahead of the centre's is not trusted; empty if it is."""
    if abs(seconds) <= SKEW_SECONDS:
        return ""
    ahead = "ahead of" if seconds > 0 else "behind"
    return f"its clock is {abs(seconds):,.0f} s {ahead} the centre's; have it set by NTP"


def shifted(own: Profile, neighbours: Sequence[Profile]) -> str:
    """Say why a site's usual week is not trusted, held against its neighbours'; empty if it is.

    Args:
        own: the site's usual week.
        neighbours: those of other sites of its provider or region, each in its own zone.
    """
    weeks = [_even(other.hours) for other in neighbours if other.hours]
    if not own.hours or len(weeks) < _NEIGHBOURS:
        return ""
    usual = _mean(weeks)
    if any(abs(_lag(week, usual)[0]) >= _SHIFTED for week in weeks):
        return ""
    mine = _even(own.hours)
    lag, best = _lag(mine, usual)
    here = correlation(mine, usual)
    if abs(lag) < _SHIFTED or best < _ALIKE or best - here < _BETTER:
        return ""
    late = "late" if lag > 0 else "early"
    return (
        f"its week looks {abs(lag)} h {late} beside its {len(weeks)} neighbours' (correlation "
        f"{best:.2f}, unshifted {here:.2f}); check its clock and its zone in the sites file"
    )


def _lag(week: Sequence[float], usual: Sequence[float]) -> tuple[int, float]:
    """Return by how many hours ``week`` comes later than ``usual``, and how well it fits then."""
    fits = {lag: correlation([*week[lag:], *week[:lag]], usual) for lag in _LAGS}
    best = max(fits, key=lambda lag: (fits[lag], -abs(lag)))
    return best, fits[best]


def _even(hours: Sequence[float]) -> list[float]:
    """Return a week with mean 0 and deviation 1, so that no site outweighs another."""
    mean = sum(hours) / HOURS
    spread = math.sqrt(sum((hour - mean) ** 2 for hour in hours) / HOURS) or 1.0
    return [(hour - mean) / spread for hour in hours]


def _mean(weeks: Sequence[Sequence[float]]) -> list[float]:
    return [sum(hours) / len(weeks) for hours in zip(*weeks, strict=True)]
