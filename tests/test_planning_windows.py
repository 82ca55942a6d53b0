"""Quiet hours, minute by minute, over both changes of the clocks."""

import math
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.planning.facts import WindowFacts
from fleet.planning.quiet import Quiet, choose
from fleet.planning.traffic import hour_of_week
from fleet.planning.windows import Turn, Work, turn, upcoming

MINUTE = timedelta(minutes=1)
CHANGES = {
    "America/Toronto": ((2026, 3, 8), (2026, 11, 1)),
    "Europe/Amsterdam": ((2026, 3, 29), (2026, 10, 25)),
    "America/St_Johns": ((2026, 3, 8), (2026, 11, 1)),
}
DAYS = [(zone, day) for zone, days in CHANGES.items() for day in days]
HOURS = [("00:00", "06:00"), ("22:30", "05:00"), ("09:00", "17:00"), ("23:00", "00:00")]

CHANGE_OF_CLOCKS = st.sampled_from(
    [
        *((zone, datetime(*day, 2, tzinfo=ZoneInfo(zone))) for zone, day in DAYS),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ]
)


def _waits(windows: list[WindowFacts], now: datetime) -> Turn | None:
    """The wait for declared windows; None while one is open or there are none."""
    found = turn(choose(windows, "", None), now, Work())
    return None if found.goes else found


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
        wait = _waits([window], now)
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
    is_open = [_waits([window], now) is None for now in minutes]
    spans = sum(later and not earlier for earlier, later in pairwise([False, *is_open]))
    assert spans == 2
    for now, this in zip(minutes, is_open, strict=True):
        if not this:
            wait = _waits([window], now)
            assert wait is not None
            assert wait.until is not None
            assert _waits([window], wait.until) is None


@pytest.mark.parametrize("zone", CHANGES)
def test_a_window_that_closes_as_it_opens_is_always_open(zone: str) -> None:
    window = WindowFacts(zone, "04:00", "04:00")
    for day in CHANGES[zone]:
        assert all(_waits([window], now) is None for now in _minutes(zone, day))


@pytest.mark.parametrize("zone", CHANGES)
def test_a_window_that_the_clocks_skip_as_a_whole_does_not_open_that_day(zone: str) -> None:
    window = WindowFacts(zone, "02:15", "02:45")
    spring = CHANGES[zone][0]
    opened = [now for now in _minutes(zone, spring) if _waits([window], now) is None]
    assert {now.astimezone(ZoneInfo(zone)).day for now in opened} <= {spring[2] - 1, spring[2] + 1}


def test_without_windows_nothing_waits() -> None:
    assert _waits([], datetime(2026, 3, 8, 7, tzinfo=UTC)) is None


def test_of_several_windows_the_first_to_open_ends_the_wait_and_is_named() -> None:
    late = WindowFacts("America/Toronto", "22:00", "23:00")
    soon = WindowFacts("Europe/Amsterdam", "00:00", "06:00")
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    waits = _waits([late, soon], noon)
    assert waits is not None
    assert waits.until == datetime(2026, 7, 1, 22, tzinfo=UTC)
    assert "waits for the quiet hours from 00:00 (Europe/Amsterdam)" in waits.reason
    assert _waits([late, soon], datetime(2026, 7, 1, 23, tzinfo=UTC)) is None


def test_a_window_is_open_at_its_beginning_and_closed_at_its_end() -> None:
    window = WindowFacts("UTC", "10:00", "11:00")
    opens = datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert _waits([window], opens) is None
    closed = _waits([window], opens + timedelta(hours=1))
    assert closed is not None
    assert closed.until == opens + timedelta(days=1)


@given(
    change=CHANGE_OF_CLOCKS,
    hours=st.frozensets(st.integers(0, 167), min_size=1),
    minutes=st.integers(-2 * 24 * 60, 24 * 60),
)
@settings(max_examples=60, deadline=None)
def test_learned_windows_are_open_in_just_their_hours_of_the_clock_on_the_wall(
    change: tuple[str, datetime], hours: frozenset[int], minutes: int
) -> None:
    zone, start = change[0], change[1].astimezone(UTC) + MINUTE * minutes
    quiet = Quiet("learned", (), zone, hours)
    windows = upcoming(quiet, start, start + timedelta(days=3))
    assert all(one.closes < other.opens for one, other in pairwise(windows))
    for step in range(0, 3 * 24 * 60, 13):
        now = start + MINUTE * step
        is_open = any(window.opens <= now < window.closes for window in windows)
        assert is_open == (hour_of_week(now, ZoneInfo(zone)) in hours), now


@given(
    change=CHANGE_OF_CLOCKS,
    hours=st.frozensets(st.integers(0, 167), min_size=1, max_size=40),
    minutes=st.integers(-2 * 24 * 60, 24 * 60),
)
@settings(max_examples=60, deadline=None)
def test_what_waits_for_learned_windows_goes_when_it_is_looked_at_again(
    change: tuple[str, datetime], hours: frozenset[int], minutes: int
) -> None:
    zone, start = change[0], change[1].astimezone(UTC) + MINUTE * minutes
    quiet = Quiet("learned", (), zone, hours)
    waits = turn(quiet, start, Work())
    if waits.goes:
        assert hour_of_week(start, ZoneInfo(zone)) in hours
    else:
        assert waits.until is not None
        assert turn(quiet, waits.until, Work()).goes
        assert not turn(quiet, waits.until - timedelta(seconds=1), Work()).goes


NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
NIGHT = Quiet("declared", (WindowFacts("UTC", "00:00", "06:00"),))
WEEKLY = Quiet(
    "learned", (), "UTC", frozenset(range(6)), tuple(float(hour % 24) for hour in range(168))
)


def test_work_waits_while_eight_tenths_of_the_windows_before_its_deadline_are_enough() -> None:
    fits = Work(False, NOON + timedelta(days=1), 4 * 3600 * 100, 100)
    assert not turn(NIGHT, NOON, fits).goes
    tight = Work(False, NOON + timedelta(days=1), 5 * 3600 * 100, 100)
    goes = turn(NIGHT, NOON, tight)
    assert goes.goes
    assert "too short" in goes.reason


def test_work_whose_speed_nobody_knows_does_not_wait_beyond_its_deadline() -> None:
    assert turn(NIGHT, NOON, Work(False, NOON + timedelta(days=1), 1, 0.0)).goes


def test_work_that_does_not_fit_takes_the_least_busy_hours_outside_the_windows() -> None:
    """Noon to midnight of a Wednesday, of which the first hours are the least busy ones."""
    work = Work(False, NOON + timedelta(hours=12), 2 * 3600 * 80, 100)
    assert turn(WEEKLY, NOON, work).goes
    later = turn(WEEKLY, NOON + timedelta(hours=3), work)
    assert later.goes
    falling = tuple(-load for load in WEEKLY.loads)
    waits = turn(Quiet("learned", (), "UTC", WEEKLY.hours, falling), NOON, work)
    assert not waits.goes
    assert waits.until == NOON + timedelta(hours=1)
    assert "22:00 (UTC)" in waits.reason


def test_urgent_work_and_sites_without_quiet_hours_never_wait() -> None:
    assert turn(NIGHT, NOON, Work(urgent=True)).goes
    assert turn(None, NOON, Work()).goes


@given(
    change=CHANGE_OF_CLOCKS,
    quarters=st.integers(-200, 100),
    hours=st.frozensets(st.integers(0, 167), max_size=70),
    busy=st.one_of(st.just(()), st.permutations(range(168)).map(tuple)),
    deadline=st.integers(1, 72),
    share=st.floats(0.01, 0.8),
)
@settings(max_examples=60, deadline=None)
def test_work_that_can_be_done_in_time_is_done_in_time_however_it_waits(
    change: tuple[str, datetime],
    quarters: int,
    hours: frozenset[int],
    busy: tuple[float, ...],
    deadline: int,
    share: float,
) -> None:
    now = change[1].astimezone(UTC) + timedelta(minutes=15 * quarters)
    due = now + timedelta(hours=deadline)
    left = share * deadline * 3600  # bytes, of which one comes a second
    quiet = Quiet("learned", (), change[0], hours, busy)
    while now < due and left > 0:
        if turn(quiet, now, Work(False, due, math.ceil(left), 1.0)).goes:
            left -= 900
        now += timedelta(minutes=15)
    assert left <= 0
