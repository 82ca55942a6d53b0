"""Synthetic traffic of sites, in bins of 15 minutes stamped in UTC, and bulk that arrives there.

- ``toronto``: people who work and stream: a daily and a half-day cosine, least at four in the
  morning, weekends 0.7 times as busy.
- ``backups``: an archive's mirror near Amsterdam.  Its nights are its busiest hours: other machines
  back up to it from 23:00 to 05:00, and at weekends less; its quiet hours are in the afternoon.
- ``abroad``: a node on Lord Howe Island (whose clocks change by half an hour) that serves readers
  in Europe: its traffic follows the clock of Amsterdam, not its own, and weekends are 0.8.

All have noise in the logarithm (AR(1), 0.97 from one bin to the next, 0.035 fresh), a drift of
some per cent a month, one spike of foreground of four hours a week at a random time, and gaps: two
bins in a hundred, and one whole day, were not measured.  They lie across a change of the clocks.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fleet.planning.traffic import BIN

LEVEL: Final = 50e6  # bytes per second of the mean hour
DAY: Final = 96  # bins
WEEK: Final = 7 * DAY
BULK: Final = 0.2  # of the foreground's bytes
_KEEPS, _FRESH = 0.97, 0.035


@dataclass(frozen=True)
class Kind:
    """A kind of site: its zone, the day it begins, and how busy a local moment is."""

    name: str
    timezone: str
    start: datetime
    shape: Callable[[datetime], float]


@dataclass(frozen=True)
class Trace:
    """One site's traffic: the foreground in bytes per second, and which bins were measured."""

    kind: Kind
    start: datetime
    load: list[float]
    measured: list[bool]

    def at(self, number: int) -> datetime:
        """Return when a bin begins."""
        return self.start + BIN * number


@dataclass
class Job:
    """Bulk that arrived: its bytes that are left, and when it must be done."""

    arrived: int
    deadline: datetime
    left: float
    late: bool = False
    again: datetime | None = None


def make(kind: Kind, weeks: int, seed: int) -> Trace:
    """Make ``weeks`` of one site's traffic."""
    chance = random.Random(f"{kind.name} {seed}")  # noqa: S311 - a trace, no secret
    drift = chance.uniform(-0.04, 0.10) / (30 * DAY)
    spikes = {
        week * WEEK + chance.randrange(WEEK) + step for week in range(weeks) for step in range(16)
    }
    lost_day = chance.randrange(weeks * 7)
    noise, load, measured = 0.0, [], []
    for number in range(weeks * WEEK):
        noise = _KEEPS * noise + chance.gauss(0, _FRESH)
        usual = kind.shape(kind.start + BIN * number)
        spike = 1.8 if number in spikes else 1.0
        load.append(LEVEL * usual * spike * math.exp(noise + drift * number))
        measured.append(number // DAY != lost_day and chance.random() >= 0.02)
    return Trace(kind, kind.start, load, measured)


def arrivals(trace: Trace, first: int, hours: tuple[int, int], seed: int) -> list[Job]:
    """Let bulk arrive from bin ``first`` on, to be done within a random time of ``hours``.

    Four fifths of its bytes come at any time, six jobs a day.  The rest is a release a week, on a
    working day between nine and five: people release when they work.
    """
    chance = random.Random(f"{trace.kind.name} {seed} {hours}")  # noqa: S311 - as above
    days = (len(trace.load) - first) // DAY
    sizes = {
        chance.randrange(first, len(trace.load)): chance.uniform(0.2, 1.8) for _ in range(6 * days)
    }
    release = sum(sizes.values()) / 4 / (days // 7)
    for week in range(first, len(trace.load) - WEEK + 1, WEEK):
        sizes[week + chance.randrange(5) * DAY + chance.randrange(36, 68)] = release
    unit = BULK * sum(trace.load[first:]) * BIN.total_seconds() / sum(sizes.values())
    return [
        Job(start, trace.at(start) + timedelta(hours=chance.uniform(*hours)), unit * sizes[start])
        for start in sorted(sizes)
    ]


def _toronto(moment: datetime) -> float:
    local = moment.astimezone(ZoneInfo("America/Toronto"))
    return _people(local, least=4.0) * (0.7 if local.weekday() >= 5 else 1.0)


def _backups(moment: datetime) -> float:
    local = moment.astimezone(ZoneInfo("Europe/Amsterdam"))
    hour = local.hour + local.minute / 60
    night = 2.2 if hour >= 23 or hour < 5 else 0.0
    evening = 0.35 * max(0.0, math.cos((hour - 20) * math.pi / 8)) if 12 < hour < 24 else 0.0
    morning = 0.3 * max(0.0, math.cos((hour - 8) * math.pi / 6)) if 5 <= hour < 11 else 0.0
    return 0.4 + night * (0.6 if local.weekday() >= 5 else 1.0) + evening + morning


def _abroad(moment: datetime) -> float:
    local = moment.astimezone(ZoneInfo("Europe/Amsterdam"))
    return _people(local, least=4.0) * (0.8 if local.weekday() >= 5 else 1.0)


def _people(local: datetime, least: float) -> float:
    turn = 2 * math.pi * (local.hour + local.minute / 60 - least) / 24
    return 1.0 - 0.55 * math.cos(turn) + 0.15 * math.cos(2 * turn - math.pi)


KINDS: Final = (
    Kind("toronto", "America/Toronto", datetime(2026, 1, 26, 5, tzinfo=UTC), _toronto),
    Kind("backups", "Europe/Amsterdam", datetime(2026, 9, 13, 22, tzinfo=UTC), _backups),
    Kind("abroad", "Australia/Lord_Howe", datetime(2026, 9, 13, 13, 30, tzinfo=UTC), _abroad),
)
