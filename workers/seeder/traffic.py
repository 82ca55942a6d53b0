"""A site's traffic, sampled in bins of 15 minutes and told to the centre.

The seeder does it because it runs all the time.  Rules this module keeps:

- What the fleet itself moves is left out: what the seeder sends, and what pulls have received.
- Bins are the site's clock's; each report names that clock's time, for the centre to judge it.
- A bin that could not be told waits, up to a week of them, and is forgotten when the seeder ends:
  a gap in a usual week does no harm.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from fleet.messages import TrafficReport, TrafficSample
from fleet.planning.traffic import BIN
from workers.seeder.centre import CentreAwayError, SeedCentre
from workers.seeder.desired import RefusedError

STEP_SECONDS: Final = 60.0
_LONGEST: Final = 300.0  # a sample that covers more than this says nothing of any bin
_KEPT: Final = 672

_log = structlog.get_logger()


@dataclass(frozen=True)
class Counters:
    """Counts at one moment, in bytes: over the uplinks, and of it the fleet's own."""

    at: datetime
    came: int
    went: int
    own_came: int = 0
    own_went: int = 0


@dataclass
class Bins:
    """What was measured, bin by bin."""

    done: list[TrafficSample] = field(default_factory=list)
    _last: Counters | None = None
    _start: datetime | None = None
    _in: int = 0
    _out: int = 0
    _seconds: float = 0.0

    def add(self, now: Counters) -> None:
        """Count what was carried since the last counters; a bin that is over is ``done``."""
        last, self._last = self._last, now
        start = bin_of(now.at)
        if self._start is not None and start != self._start:
            self._end()
        self._start = start
        if last is None:
            return
        seconds = (now.at - last.at).total_seconds()
        came, went = now.came - last.came, now.went - last.went
        if not 0 < seconds <= _LONGEST or came < 0 or went < 0:
            return
        self._in += came - (now.own_came - last.own_came)
        self._out += went - (now.own_went - last.own_went)
        self._seconds += seconds

    def _end(self) -> None:
        if self._start is not None and self._seconds > 0:
            sample = TrafficSample(
                start=self._start,
                bytes_in=max(0, self._in),
                bytes_out=max(0, self._out),
                seconds=min(self._seconds, BIN.total_seconds()),
            )
            self.done = [*self.done, sample][-_KEPT:]
        self._in = self._out = 0
        self._seconds = 0.0


def bin_of(moment: datetime) -> datetime:
    """Return when the bin of a moment begins."""
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute - moment.minute % 15, second=0, microsecond=0)


async def sample(centre: SeedCentre, count: Callable[[], Counters]) -> None:
    """Count every minute and tell the centre of each bin, until cancelled."""
    bins, trouble = Bins(), ""
    while True:
        before, trouble = trouble, ""
        try:
            bins.add(await asyncio.to_thread(count))
            if bins.done:
                told = tuple(bins.done)
                await centre.traffic(TrafficReport(sent_at=datetime.now(UTC), bins=told))
                bins.done = []
        except (CentreAwayError, RefusedError, OSError, ValueError) as error:
            trouble = f"{type(error).__name__}: {error}"
            if trouble != before:
                _log.warning("traffic not told", reason=trouble)
        await asyncio.sleep(STEP_SECONDS)
