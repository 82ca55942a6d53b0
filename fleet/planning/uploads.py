"""How fast a site may upload: its caps by rate, by hours and by month.

Rules this module keeps:

- Within hours that the caps name, their rate holds, else the base one; of hours that overlap, the
  first named counts.  A rate of 0 means that nothing is uploaded then.
- A month is a calendar month in UTC.  Its bytes go to whoever asks first: a month that is used up
  before its end stays so until the next one begins.  Spreading the bytes over the days instead
  would hold back readers now for readers who may never come.
- What was sent is a count that may be lost.  While it is unknown, a month with a cap counts as
  used up: nobody pays for bytes that nobody counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fleet.planning.facts import WindowFacts
from fleet.planning.windows import spans

FLOOR: Final = 1 / 8
"""The part of the rate that each of two ways to upload keeps, however little it used of it."""
BLOCK: Final = 16 * 1024
"""Bytes that a peer asks for at once: of a month with less left, all is used up."""
_BUSY: Final = 0.9


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours of the day with a rate of their own, in bytes per second."""

    window: WindowFacts
    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Caps:
    """What a site may upload; None is no limit.  A month has more than a block."""

    bytes_per_second: int | None = None
    bytes_per_month: int | None = None
    hours: tuple[Hours, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What may be uploaded now.

    Attributes:
        bytes_per_second: the rate that holds; 0 is nothing, None is no limit.
        left: the month's bytes that are left; None is no limit.
        reason: why, in words.
        until: when the rate changes next; None if it never does.
    """

    bytes_per_second: int | None
    left: int | None
    reason: str
    until: datetime | None

    @property
    def pace(self) -> int | None:
        """Bytes that may be sent in the next second, so that the month's bytes are not overrun.

        A second's burst is a quarter more than its rate.
        """
        last = None if self.left is None else self.left * 4 // 5
        return min((one for one in (self.bytes_per_second, last) if one is not None), default=None)


def allow(caps: Caps, sent: int | None, now: datetime) -> Allowance:
    """Decide what may be uploaded at ``now``.

    Args:
        caps: the site's.
        sent: bytes that it uploaded this month; None when that is not known.
        now: the time.
    """
    if caps.bytes_per_month is not None and (sent is None or sent > caps.bytes_per_month - BLOCK):
        ends = next_month(now)
        until = ends if _rate(caps, ends) != 0 else _change(caps, ends)
        why = (
            "what was sent this month is not known, so that it counts as used up"
            if sent is None
            else f"this month's {size(caps.bytes_per_month)} are used up"
        )
        return Allowance(0, 0, why, until)
    left = None if caps.bytes_per_month is None else caps.bytes_per_month - (sent or 0)
    hours = _hours(caps, now)
    rate = hours.bytes_per_second if hours else caps.bytes_per_second
    what = {None: "no limit", 0: "no uploads"}.get(rate) or f"at most {size(rate or 0)}/s"
    if hours:
        window = hours.window
        what += f" from {window.opens} to {window.closes} ({window.timezone})"
    return Allowance(rate, left, what, _change(caps, now))


def share(rate: int, used: tuple[int, int], granted: tuple[int, int]) -> tuple[int, int]:
    """Divide a rate between two ways to upload by what each made of its last share.

    One that used up nearly all it was granted may want more; the other keeps what it used and a
    quarter on top.  Both keep ``FLOOR`` of the rate, and together they never have more than it.

    Args:
        rate: what both may send together, in bytes per second.
        used: what each sent in the last second.
        granted: what each was allowed in it.
    """
    wants = [
        rate if sent >= _BUSY * most else sent * 5 // 4
        for sent, most in zip(used, granted, strict=True)
    ]
    first = rate // 2
    if wants[0] < first:
        first = wants[0]
    elif wants[1] < rate - first:
        first = rate - wants[1]
    floor = int(rate * FLOOR)
    first = min(max(first, floor), rate - floor)
    return first, rate - first


def month(now: datetime) -> str:
    """Name the calendar month, as in ``2026-03``; names sort as months do."""
    return f"{now.astimezone(UTC):%Y-%m}"


def next_month(now: datetime) -> datetime:
    """Return when the next calendar month begins."""
    now = now.astimezone(UTC)
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)


def size(count: int) -> str:
    """Write a count of bytes as people do: ``15 TB``, ``2.5 MB``."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.4g} {unit}"


def _rate(caps: Caps, now: datetime) -> int | None:
    hours = _hours(caps, now)
    return hours.bytes_per_second if hours else caps.bytes_per_second


def _hours(caps: Caps, now: datetime) -> Hours | None:
    """Return the hours that hold at ``now``."""
    for hours in caps.hours:
        if any(span.opens <= now < span.closes for span in spans(hours.window, now)):
            return hours
    return None


def _change(caps: Caps, now: datetime) -> datetime | None:
    """Return when the rate by the clock changes next."""
    rate = _rate(caps, now)
    return next((edge for edge in sorted(_edges(caps, now)) if _rate(caps, edge) != rate), None)


def _edges(caps: Caps, now: datetime) -> Iterable[datetime]:
    for hours in caps.hours:
        for span in spans(hours.window, now):
            yield from (edge for edge in (span.opens, span.closes) if edge > now)
