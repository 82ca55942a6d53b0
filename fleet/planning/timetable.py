"""Quiet hours as other programs read them: rclone's timetable, and a calendar.

Rules this module keeps:

- rclone's ``--bwlimit`` timetable is of the clock of the machine that runs it, which is taken for
  the site's: ``Mon-00:00,off`` lifts the limit, ``Mon-06:00,1M`` sets it again.
- A calendar (RFC 5545) has its windows in UTC, so that it needs no description of a zone.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from fleet.planning.facts import WindowFacts
from fleet.planning.quiet import Quiet
from fleet.planning.traffic import HOURS
from fleet.planning.windows import Span

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MINUTES = HOURS * 60
OUTSIDE = "1M"
"""What rclone may use outside quiet hours: a mebibyte per second."""


def bwlimit(quiet: Quiet | None) -> str:
    """Write a site's quiet hours as a ``--bwlimit`` timetable."""
    if quiet is None:
        return "off"
    is_open = bytearray(_MINUTES)
    for opens, closes in _minutes(quiet):
        for minute in range(opens, closes):
            is_open[minute % _MINUTES] = 1
    changes = [at for at in range(_MINUTES) if is_open[at] != is_open[at - 1]]
    if not changes:
        return "off" if is_open[0] else OUTSIDE
    return " ".join(
        f"{_DAYS[at // 1440]}-{at // 60 % 24:02}:{at % 60:02},{'off' if is_open[at] else OUTSIDE}"
        for at in changes
    )


def calendar(site: str, windows: Iterable[Span], reason: str, now: datetime) -> str:
    """Write a site's windows as an iCalendar file."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Data Fleet//quiet hours//EN"]
    for window in windows:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{site}-{_stamp(window.opens)}@data-fleet",
            f"DTSTAMP:{_stamp(now)}",
            f"DTSTART:{_stamp(window.opens)}",
            f"DTEND:{_stamp(window.closes)}",
            f"SUMMARY:Quiet hours of {_text(site)}",
            f"DESCRIPTION:{_text(reason)}",
            "TRANSP:TRANSPARENT",
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return "".join(part + "\r\n" for line in lines for part in _folded(line))


def _minutes(quiet: Quiet) -> Iterator[tuple[int, int]]:
    """Yield the minutes of the week in which each window opens and closes."""
    for hour in quiet.hours:
        yield hour * 60, hour * 60 + 60
    for day in range(7):
        for window in quiet.daily:
            opens, closes = _of_day(window)
            yield day * 1440 + opens, day * 1440 + closes


def _of_day(window: WindowFacts) -> tuple[int, int]:
    opens, closes = (int(at[:2]) * 60 + int(at[3:5]) for at in (window.opens, window.closes))
    return opens, closes if closes > opens else closes + 1440


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _text(words: str) -> str:
    for mark in "\\;,":
        words = words.replace(mark, "\\" + mark)
    return words.replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """Yield a line in parts of at most 75 bytes; those after the first begin with a space."""
    part = ""
    for character in line:
        if len((part + character).encode()) > 75:
            yield part
            part = " "
        part += character
    yield part
