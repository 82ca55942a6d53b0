"""Quiet hours, minute by minute, over both changes of the clocks."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from fleet.planning.facts import Wait, WindowFacts
from fleet.planning.windows import wait_for

MINUTE = timedelta(minutes=1)
CHANGES = {
    "America/Toronto": ((2026, 3, 8), (2026, 11, 1)),
    "Europe/Amsterdam": ((2026, 3, 29), (2026, 10, 25)),
    "America/St_Johns": ((2026, 3, 8), (2026, 11, 1)),
}
DAYS = [(zone, day) for zone, days in CHANGES.items() for day in days]
HOURS = [("00:00", "06:00"), ("22:30", "05:00"), ("09:00", "17:00"), ("23:00", "00:00")]


def _minutes(zone: str, day: tuple[int, int, int]) -> list[datetime]:
    """The minutes of that day and of half a day on either side."""
    start = datetime(*day, tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(hours=12)
    return [start + MINUTE * count for count in range(48 * 60)]


def _by_the_wall(window: WindowFacts, now: datetime) -> bool:
    """Whether the clock on the wall is within the hours written in the window."""
    opens, closes = time.fromisoformat(window.opens), time.fromisoformat(window.closes)
    local = now.astimezone(ZoneInfo(window.timezone)).time()
    if opens < closes:
        return opens <= local < closes
    return local >= opens or local < closes


@pytest.mark.parametrize(("opens", "closes"), HOURS)
@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_a_window_is_open_by_the_clock_on_the_wall_and_waits_end_when_it_opens(
    zone: str, day: tuple[int, int, int], opens: str, closes: str
) -> None:
    window = WindowFacts(zone, opens, closes)
    minutes = _minutes(zone, day)
    assert len({now.astimezone(ZoneInfo(zone)).utcoffset() for now in minutes}) == 2
    opening: datetime | None = None
    for now in reversed(minutes):
        wait = wait_for([window], now)
        assert (wait is None) == _by_the_wall(window, now), now
        if wait is None:
            opening = now
        elif opening is not None:
            assert wait.until == opening, now


@pytest.mark.parametrize("hours", [("01:30", "03:30"), ("02:15", "04:00"), ("23:00", "02:30")])
@pytest.mark.parametrize(("zone", "day"), DAYS)
def test_a_window_whose_edge_is_skipped_or_repeated_opens_once_a_day(
    zone: str, day: tuple[int, int, int], hours: tuple[str, str]
) -> None:
    window = WindowFacts(zone, *hours)
    minutes = _minutes(zone, day)
    is_open = [wait_for([window], now) is None for now in minutes]
    spans = sum(later and not earlier for earlier, later in pairwise([False, *is_open]))
    assert spans == 2
    for now, this in zip(minutes, is_open, strict=True):
        if not this:
            wait = wait_for([window], now)
            assert wait is not None
            assert wait.until is not None
            assert wait_for([window], wait.until) is None


@pytest.mark.parametrize("zone", CHANGES)
def test_a_window_that_closes_as_it_opens_is_always_open(zone: str) -> None:
    window = WindowFacts(zone, "04:00", "04:00")
    for day in CHANGES[zone]:
        assert all(wait_for([window], now) is None for now in _minutes(zone, day))


def test_without_windows_nothing_waits() -> None:
    assert wait_for([], datetime(2026, 3, 8, 7, tzinfo=UTC)) is None


def test_of_several_windows_the_first_to_open_ends_the_wait_and_is_named() -> None:
    late = WindowFacts("America/Toronto", "22:00", "23:00")
    soon = WindowFacts("Europe/Amsterdam", "00:00", "06:00")
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert wait_for([late, soon], noon) == Wait(
        "waits for the quiet hours from 00:00 (Europe/Amsterdam)",
        datetime(2026, 7, 1, 22, tzinfo=UTC),
    )
    assert wait_for([late, soon], datetime(2026, 7, 1, 23, tzinfo=UTC)) is None


def test_a_window_is_open_at_its_beginning_and_closed_at_its_end() -> None:
    window = WindowFacts("UTC", "10:00", "11:00")
    opens = datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert wait_for([window], opens) is None
    closed = wait_for([window], opens + timedelta(hours=1))
    assert closed is not None
    assert closed.until == opens + timedelta(days=1)
