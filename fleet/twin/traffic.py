"""The traffic that the twin's sites carry for others: by the hours of the people around them."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

QUIET, MIDDLE, BUSY = "quiet", "middle", "busy"
CLASSES = (QUIET, MIDDLE, BUSY)
_LEAST = 0.15  # of the peak, at four in the morning; the peak is twelve hours later
_WEEKEND = 0.7
_QUIET_BELOW, _BUSY_FROM = 0.4, 0.75
_TAKEN = 0.6  # of the line, by the peak


def load(zone: str, moment: datetime) -> float:
    """Say how busy a site is with others' traffic, as a share of its weekday's peak."""
    local = moment.astimezone(_zone(zone))
    return _curve(local.hour, local.weekday() >= 5)


def left(zone: str, moment: datetime) -> float:
    """Say what share of its line a site has left for the fleet."""
    return 1.0 - _TAKEN * load(zone, moment)


def hour_class(zone: str, moment: datetime) -> str:
    """Say what kind of hour it is at a site: ``quiet``, ``middle`` or ``busy``."""
    share = load(zone, moment)
    return QUIET if share < _QUIET_BELOW else BUSY if share >= _BUSY_FROM else MIDDLE


def hours(begins: datetime, ends: datetime) -> Iterator[tuple[datetime, float]]:
    """Cut a time into hours: the beginning of each part, and its share of the whole."""
    whole = (ends - begins).total_seconds()
    if whole <= 0:
        yield begins, 1.0
        return
    at = begins
    while at < ends:
        until = min(ends, at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))
        yield at, (until - at).total_seconds() / whole
        at = until


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _curve(hour: int, weekend: bool) -> float:
    wave = 0.5 - 0.5 * math.cos(2 * math.pi * (hour + 0.5 - 4) / 24)
    return (_LEAST + (1 - _LEAST) * wave) * (_WEEKEND if weekend else 1.0)
